"""HTTP: one small file a resource. `edge.py` is the one middleware, `errors.py` the one renderer of errors."""

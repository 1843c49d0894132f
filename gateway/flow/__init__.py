"""What happens, in order. `generate.py` is the story; nothing else knows the order."""

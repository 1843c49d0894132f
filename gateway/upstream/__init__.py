"""The one client of the image API upstream, and the only room that holds its keys."""

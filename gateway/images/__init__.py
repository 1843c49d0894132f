"""Images: what their bytes say, where they are kept, how they are linked, and how upstream's links are fetched."""

"""A venue that costs next to nothing: recorded frames with rising ids, written out beforehand as the bytes of a
websocket and served from a file, so that a benchmark measures who reads them and not who makes them."""

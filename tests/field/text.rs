//! What stands beside an alert's text never costs the text: bytes, encodings, sizes, addresses, slow bodies.

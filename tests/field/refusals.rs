//! What the server refuses is judged per cause, asked again where the answer can have been stale, and holds up nobody else.

//! What a phone asks for again it gets, readable, hours and clock steps later; and what others say proves nothing.

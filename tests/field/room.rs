//! Small volumes, many keys, and memory that comes down again.

//! What a host, its environment or its file system bring does not keep the box dark.

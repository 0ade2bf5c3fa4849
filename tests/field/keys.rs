//! A message counts as sent only if a device of the recipient can read it.

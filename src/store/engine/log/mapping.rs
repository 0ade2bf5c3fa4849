//! Memory that goes back to the system whole.

/// What [`apart`] asks for at least. glibc takes a block over its mmap threshold from the system and gives it back; but
/// with each such block that is let go of, the threshold rises to its size, up to 32 MiB (512 KiB with 32 bits). After
/// one rotation, the next would be laid between the small pieces of the heap and leave holes there. A block over the
/// highest threshold neither moves it nor is laid there.
const APART_BYTES: usize = if cfg!(target_pointer_width = "64") {
    33 << 20
} else {
    1 << 20
};

/// A vector for `len` or more that is a mapping of its own. Of what it does not use nothing is resident.
pub(super) fn apart<T>(len: usize) -> Vec<T> {
    let mut vector = Vec::new();
    let most = len.max(APART_BYTES / size_of::<T>());
    // Where memory may not be promised that is not there, malloc decides.
    if vector.try_reserve_exact(most).is_err() {
        vector.reserve_exact(len);
    }
    vector
}

//! A number that differs when two programs disagree about a type.

/// Computes the 64-bit FNV-1a hash of `bytes`. Use it over a name of your own, such as `"orders/1"`, where type names
/// differ between two programs that nevertheless agree. It catches mistakes and proves nothing.
///
/// ```
/// const ORDERS: u64 = strait_frame::fnv1a(b"orders/1");
/// assert_ne!(ORDERS, strait_frame::fnv1a(b"orders/2"));
/// assert_eq!(strait_frame::fnv1a(b""), 0xcbf2_9ce4_8422_2325);
/// ```
pub const fn fnv1a(bytes: &[u8]) -> u64 {
    fnv1a_more(0xcbf2_9ce4_8422_2325, bytes)
}

const fn fnv1a_more(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

/// Hashes the name of `T`, then its size and its alignment, each as a little-endian `u64`.
pub(crate) fn schema_of<T>() -> u64 {
    let hash = fnv1a(core::any::type_name::<T>().as_bytes());
    let hash = fnv1a_more(hash, &(size_of::<T>() as u64).to_le_bytes());
    fnv1a_more(hash, &(align_of::<T>() as u64).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_agrees_with_the_published_vectors() {
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn types_of_one_name_and_different_size_have_different_schemas() {
        assert_ne!(schema_of::<[u8; 4]>(), schema_of::<[u8; 8]>());
        assert_ne!(schema_of::<u32>(), schema_of::<f32>());
    }
}

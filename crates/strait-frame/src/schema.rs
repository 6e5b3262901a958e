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

/// Hashes the name of `T` without module paths, then its size and its alignment, each as a little-endian `u64`.
pub(crate) fn schema_of<T>() -> u64 {
    let hash = name_without_paths(fnv1a(b""), core::any::type_name::<T>());
    let hash = fnv1a_more(hash, &(size_of::<T>() as u64).to_le_bytes());
    fnv1a_more(hash, &(align_of::<T>() as u64).to_le_bytes())
}

/// Goes on with `hash` over a type's name, of each path in it only the last segment: two programs that compile the same
/// file have it in crates, and so under paths, of their own.
fn name_without_paths(hash: u64, name: &str) -> u64 {
    let is_in_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '{' | '}' | '#');
    name.split_inclusive(|c| !is_in_path(c)).fold(hash, |hash, path_and_next| {
        let segment = path_and_next.rsplit("::").next().unwrap_or_default();
        fnv1a_more(hash, segment.as_bytes())
    })
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
    fn paths_are_left_out_wherever_they_stand_in_a_name() {
        let same = |left: &str, right: &str| {
            assert_eq!(name_without_paths(fnv1a(b""), left), name_without_paths(fnv1a(b""), right), "{left} {right}");
        };
        same("u64", "u64");
        same("server::orders::Order", "Order");
        same("a::Pair<b::c::Left, [d::Right; 4]>", "Pair<Left, [Right; 4]>");
        same("(a::A, &b::B, fn(c::C) -> d::D)", "(A, &B, fn(C) -> D)");
        same("alloc::vec::Vec<alloc::string::String>", "Vec<String>");
        assert_ne!(name_without_paths(0, "a::Order"), name_without_paths(0, "a::Trade"));
        assert_ne!(name_without_paths(0, "Pair<A, B>"), name_without_paths(0, "Pair<B, A>"));
        assert_ne!(name_without_paths(0, "[A; 4]"), name_without_paths(0, "[A; 5]"));
    }

    mod one {
        pub(super) struct Order(#[allow(dead_code)] u64);
        pub(super) struct Batch<T>(#[allow(dead_code)] [T; 4]);
    }

    mod other {
        pub(super) struct Order(#[allow(dead_code)] u64);
        pub(super) struct Trade(#[allow(dead_code)] u64);
        pub(super) struct Batch<T>(#[allow(dead_code)] [T; 4]);
    }

    #[test]
    fn types_of_one_name_in_two_modules_have_one_schema() {
        assert_eq!(schema_of::<one::Order>(), schema_of::<other::Order>());
        assert_eq!(schema_of::<one::Batch<one::Order>>(), schema_of::<other::Batch<other::Order>>());
        assert_ne!(schema_of::<one::Order>(), schema_of::<other::Trade>());
        assert_ne!(schema_of::<one::Batch<one::Order>>(), schema_of::<other::Batch<other::Trade>>());
    }

    #[test]
    fn types_of_one_name_and_different_size_have_different_schemas() {
        assert_ne!(schema_of::<[u8; 4]>(), schema_of::<[u8; 8]>());
        assert_ne!(schema_of::<u32>(), schema_of::<f32>());
    }
}

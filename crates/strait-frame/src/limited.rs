//! A serde deserializer around another one that bounds what the bytes can make it do.
//!
//! A format such as postcard follows its input: `01 01 01 …` for a list of boxes nests as deeply as there are bytes,
//! and a sequence of elements that take no bytes (`Vec<()>`) is as long as its prefix says. The first overflows the
//! stack, the second keeps a processor busy for years. [`Limited`] counts both and passes everything else on.
//!
//! Only what the bytes can repeat at will counts as a level: options, sequences, maps and enums. Structs, tuples and
//! newtypes nest as the type says, which is finite between two of those.

use crate::{DecodeError, MAX_DEPTH};
use core::{cell::Cell, fmt};
use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

/// Elements that a message may have beyond one per byte. An element that takes no bytes is a unit type in a sequence:
/// rare, and honest lists of them are short.
const FREE_ELEMENTS: usize = 65_536;

/// The counters of one message.
pub(crate) struct Limits {
    elements_max: usize,
    elements_left: Cell<usize>,
    broken: Cell<Option<Broken>>,
}

#[derive(Clone, Copy)]
enum Broken {
    Depth,
    Elements,
}

impl Limits {
    /// Sets the limits for a message of `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let elements_max = bytes.saturating_add(FREE_ELEMENTS);
        Self { elements_max, elements_left: Cell::new(elements_max), broken: Cell::new(None) }
    }

    /// Says which limit was hit, if one was. serde's errors can't carry that through every format.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        match self.broken.get() {
            None => Ok(()),
            Some(Broken::Depth) => Err(DecodeError::TooDeep { max: MAX_DEPTH }),
            Some(Broken::Elements) => Err(DecodeError::TooManyElements { max: self.elements_max }),
        }
    }

    fn stop<E: de::Error>(&self, why: Broken) -> E {
        self.broken.set(Some(why));
        E::custom("limit exceeded")
    }

    fn count_element<E: de::Error>(&self) -> Result<(), E> {
        match self.elements_left.get().checked_sub(1) {
            Some(left) => {
                self.elements_left.set(left);
                Ok(())
            }
            None => Err(self.stop(Broken::Elements)),
        }
    }
}

/// Wraps a deserializer, visitor, seed or access `I`, so that everything it leads to is wrapped as well.
pub(crate) struct Limited<'l, I> {
    inner: I,
    limits: &'l Limits,
    depth: usize,
    /// Whether elements count here: they do in sequences and maps, not in tuples and structs.
    counted: bool,
}

impl<'l, I> Limited<'l, I> {
    pub(crate) fn new(inner: I, limits: &'l Limits) -> Self {
        Self { inner, limits, depth: 0, counted: false }
    }

    fn wrap<J>(&self, inner: J) -> Limited<'l, J> {
        Limited { inner, limits: self.limits, depth: self.depth, counted: self.counted }
    }

    /// Takes the inner value apart from the wrapper for what hangs below it.
    fn split<J>(self, other: J) -> (I, Limited<'l, J>) {
        let Self { inner, limits, depth, counted } = self;
        (inner, Limited { inner: other, limits, depth, counted })
    }

    fn level<E: de::Error>(mut self, counted: bool) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.limits.stop(Broken::Depth));
        }
        self.depth += 1;
        self.counted = counted;
        Ok(self)
    }
}

/// Deserializer methods that pass their visitor on wrapped; `level` ones go one level down first.
macro_rules! deserialize {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.counted = false;
            let (inner, visitor) = self.split(visitor);
            inner.$method($($name,)* visitor)
        }
    )*};
}
macro_rules! deserialize_level {
    ($($method:ident($($name:ident: $type:ty),*), $counted:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let (inner, visitor) = self.level($counted)?.split(visitor);
            inner.$method($($name,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<'_, D> {
    type Error = D::Error;

    deserialize! {
        deserialize_bool(); deserialize_char();
        deserialize_i8(); deserialize_i16(); deserialize_i32(); deserialize_i64(); deserialize_i128();
        deserialize_u8(); deserialize_u16(); deserialize_u32(); deserialize_u64(); deserialize_u128();
        deserialize_f32(); deserialize_f64();
        deserialize_str(); deserialize_string(); deserialize_bytes(); deserialize_byte_buf();
        deserialize_unit(); deserialize_unit_struct(name: &'static str); deserialize_newtype_struct(name: &'static str);
        deserialize_tuple(len: usize); deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_identifier();
    }

    deserialize_level! {
        deserialize_option(), false;
        deserialize_seq(), true;
        deserialize_map(), true;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]), false;
        deserialize_any(), true;
        deserialize_ignored_any(), true;
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Visitor methods without anything nested.
macro_rules! visit {
    ($($method:ident: $type:ty;)*) => {$(
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Limited<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool: bool; visit_char: char;
        visit_i8: i8; visit_i16: i16; visit_i32: i32; visit_i64: i64; visit_i128: i128;
        visit_u8: u8; visit_u16: u16; visit_u32: u32; visit_u64: u64; visit_u128: u128;
        visit_f32: f32; visit_f64: f64;
        visit_str: &str; visit_borrowed_str: &'de str; visit_string: alloc::string::String;
        visit_bytes: &[u8]; visit_borrowed_bytes: &'de [u8]; visit_byte_buf: alloc::vec::Vec<u8>;
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let (visitor, deserializer) = self.split(deserializer);
        visitor.visit_some(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let (visitor, deserializer) = self.split(deserializer);
        visitor.visit_newtype_struct(deserializer)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let (visitor, access) = self.split(access);
        visitor.visit_seq(access)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let (visitor, access) = self.split(access);
        visitor.visit_map(access)
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let (visitor, access) = self.split(access);
        visitor.visit_enum(access)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Limited<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let (seed, deserializer) = self.split(deserializer);
        seed.deserialize(deserializer)
    }
}

impl<'de, A: de::SeqAccess<'de>> de::SeqAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        let element = self.inner.next_element_seed(seed)?;
        if self.counted && element.is_some() {
            self.limits.count_element()?;
        }
        Ok(element)
    }

    /// Never more than may follow, for whoever reserves memory by it.
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|hint| hint.min(self.limits.elements_left.get()))
    }
}

impl<'de, A: de::MapAccess<'de>> de::MapAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        let key = self.inner.next_key_seed(seed)?;
        if self.counted && key.is_some() {
            self.limits.count_element()?;
        }
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_value_seed(seed)
    }

    /// Never more than may follow, for whoever reserves memory by it.
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|hint| hint.min(self.limits.elements_left.get()))
    }
}

impl<'de, 'l, A: de::EnumAccess<'de>> de::EnumAccess<'de> for Limited<'l, A> {
    type Error = A::Error;
    type Variant = Limited<'l, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (access, seed) = self.split(seed);
        let (limits, depth, counted) = (seed.limits, seed.depth, seed.counted);
        let (value, inner) = access.variant_seed(seed)?;
        Ok((value, Limited { inner, limits, depth, counted }))
    }
}

impl<'de, A: de::VariantAccess<'de>> de::VariantAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let (access, seed) = self.split(seed);
        access.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let (access, visitor) = self.split(visitor);
        access.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let (access, visitor) = self.split(visitor);
        access.struct_variant(fields, visitor)
    }
}

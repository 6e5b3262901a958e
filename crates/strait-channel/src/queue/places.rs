//! Places for participants, whose keys are not mistaken for each other's when a place is taken again.

/// Names one that has, or had, a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The place: small, and taken again once it is free.
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }
}

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by key.
pub(crate) struct Places<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Places<T> {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, value: None });
            (self.places.len() - 1) as u32
        });
        let place = &mut self.places[index as usize];
        place.value = Some(value);
        Key { index, generation: place.generation }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index()).filter(|place| place.generation == key.generation)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index()).filter(|place| place.generation == key.generation)?;
        place.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index()).filter(|place| place.generation == key.generation)?;
        place.value.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_one_that_has_left_is_not_that_of_its_successor() {
        let mut places = Places::new();
        let first = places.insert("first");
        assert_eq!(places.remove(first), Some("first"));
        let second = places.insert("second");
        assert_eq!(first.index(), second.index());
        assert_eq!((places.get(first), places.get(second)), (None, Some(&"second")));
        assert_eq!(places.remove(first), None);
    }
}

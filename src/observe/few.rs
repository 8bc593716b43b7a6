//! [`Few`]: the first few different values, and whether there were more.

use smallvec::SmallVec;

/// Most values stored.
const MOST: usize = 8;

/// Up to eight different values, in order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<T> {
    kept: SmallVec<[T; 2]>,
    more: bool,
}

impl<T: Copy + PartialEq> Few<T> {
    /// Stores the first eight different `values`.
    pub fn new(values: impl IntoIterator<Item = T>) -> Self {
        let mut few = Self { kept: SmallVec::new(), more: false };
        values.into_iter().for_each(|value| few.add(value));
        few
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Self) {
        other.kept.iter().for_each(|value| self.add(*value));
        self.more |= other.more;
    }

    /// The same values, marked as incomplete if `more` is true.
    #[must_use]
    pub fn or_more(self, more: bool) -> Self {
        Self { more: self.more || more, ..self }
    }

    fn add(&mut self, value: T) {
        if self.kept.contains(&value) {
            return;
        }
        if self.kept.len() < MOST {
            self.kept.push(value);
        } else {
            self.more = true;
        }
    }

    /// The stored values.
    pub fn kept(&self) -> &[T] {
        &self.kept
    }

    /// True if there were other values.
    pub fn more(&self) -> bool {
        self.more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_values_are_stored_and_others_flagged() {
        let mut few = Few::new([3, 1, 3]);
        assert_eq!((few.kept(), few.more()), (&[3, 1][..], false));
        few.merge(&Few::new(1..=7));
        assert_eq!((few.kept(), few.more()), (&[3, 1, 2, 4, 5, 6, 7][..], false));
        few.merge(&Few::new(7..=9));
        assert_eq!((few.kept().len(), few.more()), (8, true));
        assert!(Few::new([1]).or_more(true).more());
    }
}

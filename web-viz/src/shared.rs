//! A value that many components show and one place changes.

use std::ops::Deref;
use std::rc::Rc;

/// A reference-counted value that is compared by identity: a component that gets the same `Shared`
/// again skips the comparison of its contents.
#[derive(Debug, Default)]
pub(crate) struct Shared<T>(Rc<T>);

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Rc::new(value))
    }
}

impl<T: Clone> Shared<T> {
    /// Returns the value for a change. Copies it first if another holder still shows the old value.
    pub(crate) fn change(&mut self) -> &mut T {
        Rc::make_mut(&mut self.0)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Shared;

    /// Guards that a change creates a new identity, and that other holders keep the old value.
    /// Components rely on this to skip work.
    #[test]
    fn a_change_leaves_the_shown_value_alone() {
        let mut current = Shared::new(1);
        let shown = current.clone();
        assert!(shown == current);
        *current.change() = 2;
        assert_eq!((*shown, *current), (1, 2));
        assert!(shown != current);
    }
}

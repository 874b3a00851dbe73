//! A value that many components show and one place changes.

use std::ops::Deref;
use std::rc::Rc;

/// Shared ownership with equality by identity: a component given the same `Shared` again need not
/// look inside to know that nothing changed.
#[derive(Debug, Default)]
pub(crate) struct Shared<T>(Rc<T>);

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Rc::new(value))
    }
}

impl<T: Clone> Shared<T> {
    /// The value for a change; copied first when somebody still shows the old one.
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

    /// Guards the rule that lets components skip work: a change is a new identity only for those
    /// who still hold the old one.
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

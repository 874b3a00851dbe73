//! How components and sources send actions to the model.

use yew::Callback;

use crate::model::Action;

/// The callback through which components and sources send actions.
pub(crate) type Dispatch = Callback<Action>;

//! The latest turn of events and its reason. Screen readers announce each change.

use yew::prelude::*;

use crate::domain::story::{Story, Tone};
use crate::model::Model;

/// The panel, from the model.
pub(crate) fn panel(model: &Model) -> Html {
    caption(&model.story)
}

fn caption(story: &Story) -> Html {
    let told = &story.caption;
    let tone = match told.tone {
        Tone::Calm => "calm",
        Tone::Good => "good",
        Tone::Bad => "bad",
    };
    html! {
        <section class={classes!("caption", tone)} aria-live="polite" data-testid="caption">
            // A new key restarts the entrance animation.
            <div key={story.number} class="told">
                <h1>{ &told.headline }</h1>
                <p>{ &told.why }</p>
            </div>
        </section>
    }
}

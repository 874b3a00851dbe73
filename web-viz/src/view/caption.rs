//! What just happened, and why; read out by screen readers as it changes.

use yew::prelude::*;

use crate::model::story::{Story, Tone};

/// See the module.
pub(crate) fn caption(story: &Story) -> Html {
    let told = &story.caption;
    let tone = match told.tone {
        Tone::Calm => "calm",
        Tone::Good => "good",
        Tone::Bad => "bad",
    };
    html! {
        <section class={classes!("caption", tone)} aria-live="polite" data-testid="caption">
            // A new key starts the short entrance anew.
            <div key={story.number} class="told">
                <h1>{ &told.headline }</h1>
                <p>{ &told.why }</p>
            </div>
        </section>
    }
}

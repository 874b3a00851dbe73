//! The text of lessons. Its HTML comes only from the build, which converts the lessons' Markdown
//! (`build.rs`).

use yew::prelude::*;

use crate::model::course::{Paragraph, Sentence};

/// Inline HTML.
pub(super) fn prose(html: &str) -> Html {
    Html::from_html_unchecked(AttrValue::from(html.to_owned()))
}

/// Shows whole paragraphs.
pub(super) fn whole(paragraphs: &[Paragraph]) -> Html {
    html! {
        <div class="prose">
            { for paragraphs.iter().map(|paragraph| html! {
                { for paragraph.chunk_by(|sentence, _| sentence.below.is_none()).map(together) }
            }) }
        </div>
    }
}

/// Shows sentences, and the block below the last of them.
fn together(sentences: &[Sentence]) -> Html {
    let below = sentences.last().and_then(|last| last.below.as_ref());
    html! {
        <>
            <p>{ for sentences.iter().map(|it| html! { <>{ prose(&it.words) }{ " " }</> }) }</p>
            { for below.map(|below| prose(below)) }
        </>
    }
}

/// Shows a sentence after the earlier sentences of its paragraph.
pub(super) fn telling(said: &[String], sentence: &Sentence) -> Html {
    html! {
        <div class="prose">
            <p>
                { for said.iter().map(|words| html! {
                    <span class="said">{ prose(words) }{ " " }</span>
                }) }
                <span class="told" key={said.len()}>{ prose(&sentence.words) }</span>
            </p>
            { for sentence.below.as_ref().map(|below| prose(below)) }
        </div>
    }
}

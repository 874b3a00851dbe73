//! The text of lessons: HTML that the build made of their Markdown (`build.rs`), and nobody else.

use yew::prelude::*;

use crate::model::course::{Paragraph, Sentence};

/// A text inside a line.
pub(super) fn prose(html: &str) -> Html {
    Html::from_html_unchecked(AttrValue::from(html.to_owned()))
}

/// Paragraphs to be read as a whole.
pub(super) fn whole(paragraphs: &[Paragraph]) -> Html {
    html! {
        <div class="prose">
            { for paragraphs.iter().map(|paragraph| html! {
                { for paragraph.chunk_by(|sentence, _| sentence.below.is_none()).map(together) }
            }) }
        </div>
    }
}

/// Sentences up to one with something below it.
fn together(sentences: &[Sentence]) -> Html {
    let below = sentences.last().and_then(|last| last.below.as_ref());
    html! {
        <>
            <p>{ for sentences.iter().map(|it| html! { <>{ prose(&it.words) }{ " " }</> }) }</p>
            { for below.map(|below| prose(below)) }
        </>
    }
}

/// A sentence below those of its paragraph that were read before.
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

//! The dialog to share and save the run.

use raft_core::types::Time;
use web_sys::HtmlDialogElement;
use yew::prelude::*;

use super::parts::{Icon, glyph};
use crate::dispatch::Dispatch;
use crate::domain::run::SourceKind;
use crate::model::{Action, Model, Save, UiAction};
use crate::num::span;

/// The addresses of the shown run.
pub(crate) struct Links {
    /// Of the page.
    pub(crate) link: String,
    /// Of the page inside another one.
    pub(crate) frame: String,
}

/// The panel, from the model; `links` only while the dialog is open.
pub(crate) fn panel(
    model: &Model,
    links: Option<Links>,
    load: &Callback<web_sys::File>,
    dispatch: &Dispatch,
) -> Html {
    let Some(Links { link, frame }) = links else { return Html::default() };
    html! {
        <Share
            open={true}
            source={model.source}
            {link}
            embedded={format!("<iframe src=\"{frame}\" width=\"800\" height=\"600\"></iframe>")}
            digest={model.digest}
            now={model.playback.now}
            load={load.clone()}
            dispatch={dispatch.clone()}
        />
    }
}

/// Properties of [`Share`].
#[derive(PartialEq, Properties)]
pub(crate) struct ShareProps {
    pub(crate) open: bool,
    pub(crate) source: SourceKind,
    /// The full address of the shown run and moment.
    pub(crate) link: AttrValue,
    /// The HTML that embeds it with stage and transport controls only.
    pub(crate) embedded: AttrValue,
    /// The digest of all events up to the shown moment.
    pub(crate) digest: u64,
    pub(crate) now: Time,
    /// Receives a chosen file.
    pub(crate) load: Callback<web_sys::File>,
    pub(crate) dispatch: Dispatch,
}

/// The share dialog.
#[component]
pub(crate) fn Share(props: &ShareProps) -> Html {
    let dialog = use_node_ref();
    use_effect_with((props.open, dialog.clone()), |(open, dialog)| {
        if let Some(dialog) = dialog.cast::<HtmlDialogElement>() {
            if *open && !dialog.open() {
                // This fails only if the dialog is open or not in the document.
                let _ = dialog.show_modal();
            } else if !*open && dialog.open() {
                dialog.close();
            }
        }
    });
    let close = props.dispatch.reform(|()| Action::Ui(UiAction::Share(false)));
    let onclose = close.reform(|_: Event| ());
    let onclick = close.reform(|_: MouseEvent| ());
    html! {
        <dialog class="help share" ref={dialog} aria-labelledby="share-title" {onclose}>
            <div class="help-head">
                <h2 id="share-title">{ "Share and save" }</h2>
                <button type="button" class="button quiet" aria-label="Close" {onclick}>
                    { glyph(Icon::Close) }
                </button>
            </div>
            { link(props) }
            { traces(props) }
            { pictures(props) }
        </dialog>
    }
}

fn link(props: &ShareProps) -> Html {
    let what = match props.source {
        SourceKind::Simulate => "This link shows the same run, with all actions, at this moment.",
        SourceKind::Replay => "To share a recording, save the trace and send the file.",
        SourceKind::Live => {
            "This link opens the same live cluster in any browser that can reach it."
        }
    };
    html! {
        <section>
            <p>{ what }</p>
            if props.source != SourceKind::Replay {
            { copied("Link", "link", &props.link, props) }
            }
            if props.source != SourceKind::Live {
                <p class="hint">
                    { "At " }{ span(props.now.0) }{ " the digest of all events is " }
                    <code data-testid="digest">{ format!("{:016x}", props.digest) }</code>
                    { ". The same run has the same digest on every machine." }
                </p>
            }
            if props.source != SourceKind::Replay {
                { copied("To embed", "embed", &props.embedded, props) }
            }
        </section>
    }
}

/// A text with a button to copy it.
fn copied(name: &'static str, testid: &'static str, text: &AttrValue, props: &ShareProps) -> Html {
    let content = text.to_string();
    let onclick = props.dispatch.reform(move |_: MouseEvent| Action::Copy(content.clone()));
    html! {
        <div class="copied">
            <label>
                <span>{ name }</span>
                <input type="text" readonly=true value={text.clone()} data-testid={testid} />
            </label>
            <button type="button" class="button" data-testid={format!("copy-{testid}")} {onclick}>
                { "Copy" }
            </button>
        </div>
    }
}

fn traces(props: &ShareProps) -> Html {
    let load = props.load.clone();
    let onchange = Callback::from(move |event: Event| {
        let Some(input) = event.target_dyn_into::<web_sys::HtmlInputElement>() else { return };
        if let Some(file) = input.files().and_then(|files| files.get(0)) {
            load.emit(file);
        }
        // This allows choosing the same file again.
        input.set_value("");
    });
    let trace = props.dispatch.reform(|_: MouseEvent| Action::SaveTrace);
    html! {
        <section>
            <h2>{ "Trace" }</h2>
            <p class="hint">
                { "A trace has one event as JSON on each line. The page opens saved traces and \
                   what a server's /trace sent." }
            </p>
            <div class="buttons">
                <button
                    type="button"
                    class="button"
                    data-testid="save-trace"
                    onclick={trace}
                >
                    { "Save the trace" }
                </button>
                <label class="button">
                    { "Open a trace" }
                    <input
                        class="visually-hidden"
                        type="file"
                        accept=".ndjson,.jsonl,.json,application/x-ndjson"
                        data-testid="open-trace"
                        {onchange}
                    />
                </label>
            </div>
        </section>
    }
}

fn pictures(props: &ShareProps) -> Html {
    let save = |what: Save, name: &'static str, testid: &'static str| {
        let onclick = props.dispatch.reform(move |_: MouseEvent| Action::Save(what));
        html! {
            <button type="button" class="button" data-testid={testid} {onclick}>{ name }</button>
        }
    };
    html! {
        <section>
            <h2>{ "Picture of the stage" }</h2>
            <div class="buttons">
                { save(Save::Svg, "SVG", "save-svg") }
                { save(Save::Png, "PNG", "save-png") }
            </div>
        </section>
    }
}

//! The root component: connects the session to the browser. Only this module and `source::live` use
//! the clock, storage, address and network.

mod browser;
mod files;
mod picture;
mod texts;

use gloo_events::{EventListener, EventListenerOptions};
use gloo_render::{AnimationFrame, request_animation_frame};
use gloo_timers::callback::Timeout;
use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::address::Place;
use crate::dispatch::Dispatch;
use crate::keys;
use crate::model::live::Report;
use crate::model::reading::Reading;
use crate::model::{Action, Effect, Save, UiAction};
use crate::panel::share::Links;
use crate::panel::stage::focus_message;
use crate::panel::tabs::{side_tabs, tabs};
use crate::panel::{
    act, board, caption, compare, events, help, inspector, lanes, lesson, matrix, notice, promises,
    scrub, share, stage, store, top, transport,
};
use crate::session::Session;
use crate::source::live::LiveSource;
use texts::{Panel, Texts};

/// Messages to the root component.
pub(crate) enum Message {
    Act(Action),
    /// The browser draws a frame; its clock in milliseconds.
    Frame(f64),
    Key(String),
    /// The user chose a file.
    Load(web_sys::File),
}

/// How often a stopped view is redrawn while a live cluster runs on, in milliseconds.
const AT_REST_MS: f64 = 200.0;

/// The root component.
pub(crate) struct App {
    session: Session,
    live: LiveSource,
    dispatch: Dispatch,
    /// The requested frame; `None` while nothing moves.
    frame: Option<AnimationFrame>,
    /// The time of the previous frame.
    drawn_at: Option<f64>,
    /// The time of the last render.
    shown_at: f64,
    texts: Texts,
    /// The pending update of the address. The delay merges fast changes into one update.
    address: Option<Timeout>,
    load: Callback<web_sys::File>,
    _listeners: Vec<EventListener>,
}

impl Component for App {
    type Message = Message;
    type Properties = ();

    fn create(ctx: &Context<Self>) -> Self {
        let dispatch = ctx.link().callback(Message::Act);
        let mut app = Self {
            session: Session::default(),
            live: LiveSource::new(dispatch.clone()),
            dispatch,
            frame: None,
            drawn_at: None,
            shown_at: 0.0,
            texts: Texts::default(),
            address: None,
            load: ctx.link().callback(Message::Load),
            _listeners: listeners(ctx),
        };
        app.act(Action::Theme(browser::theme()));
        app.act(Action::Ui(UiAction::Calm(browser::wants_less_motion())));
        if browser::is_embedded() {
            app.act(Action::Ui(UiAction::Embed));
        }
        app.open(&browser::fragment());
        app.keep_moving(ctx);
        app.read_on();
        app
    }

    fn update(&mut self, ctx: &Context<Self>, message: Message) -> bool {
        let mut differs = true;
        match message {
            Message::Act(action) => {
                // Events of a live cluster are shown with the next frame.
                differs = !matches!(action, Action::Live(Report::Events(..)));
                self.act(action);
            }
            Message::Frame(time) => {
                self.frame = None;
                let elapsed = time - self.drawn_at.replace(time).unwrap_or(time);
                // The frame in which playback stops must be rendered, too.
                let played = self.session.model.plays();
                self.act(Action::Frame { elapsed, wall: browser::wall_clock() });
                // While a live cluster's past stands still, its tape still grows, but slowly.
                let rested = time - self.shown_at >= AT_REST_MS;
                differs = played || self.session.model.plays() || rested;
                if differs {
                    self.shown_at = time;
                }
            }
            Message::Key(key) => {
                let Some(action) = keys::action(&key, &self.session.model) else { return false };
                self.act(action);
            }
            Message::Load(file) => self.load(file),
        }
        self.keep_moving(ctx);
        if differs {
            self.read_on();
        }
        differs
    }

    fn view(&self, _ctx: &Context<Self>) -> Html {
        let model = &self.session.model;
        let dispatch = &self.dispatch;
        html! {
            <div
                class={classes!("page", model.ui.embedded.then_some("embedded"))}
                data-sheet={model.ui.sheet.name()}
                data-lesson={model.course.is_some().to_string()}
            >
                { top::panel(model, dispatch) }
                <main>
                    <div class="centre">
                        { caption::panel(model) }
                        { board::panel(model) }
                        { stage::panel(model, dispatch) }
                        { tabs(model.ui.sheet, model.course.is_some(), model.ui.lanes.open, dispatch) }
                        { self.texts.panel(Panel::Matrix) }
                    </div>
                    <div class="left">
                        { lesson::panel(model, dispatch) }
                        { act::panel(model, dispatch) }
                    </div>
                    <div class="side">
                        { side_tabs(model.ui.sheet, dispatch) }
                        { self.texts.panel(Panel::Store) }
                        { self.texts.panel(Panel::Events) }
                        { inspector::panel(model, dispatch) }
                    </div>
                </main>
                <footer class="dock">
                    { lanes::panel(model, dispatch) }
                    { self.texts.panel(Panel::Tape) }
                    { transport::panel(model, dispatch) }
                </footer>
                { notice::panel(model, dispatch) }
                { help::panel(model, dispatch) }
                { lesson::list::panel(model, dispatch) }
                { share::panel(model, self.links(), &self.load, dispatch) }
                { compare::panel(model, dispatch) }
                { promises::panel(model, dispatch) }
            </div>
        }
    }
}

impl App {
    /// Dispatches an action and carries out its effects.
    fn act(&mut self, action: Action) {
        for effect in self.session.dispatch(action) {
            match effect {
                Effect::Address(place) => {
                    let show = move || browser::set_fragment(&place.fragment());
                    self.address = Some(browser::later(show));
                }
                Effect::Copy(text) => self.copy(text),
                Effect::Save(save) => self.save(save),
                Effect::Give(text) => {
                    if files::give("glassraft.ndjson", "application/x-ndjson", &text).is_err() {
                        self.act(Action::Notice(
                            "The browser refused to save the file.".to_owned(),
                        ));
                    }
                }
                Effect::SaveTheme(theme) => browser::set_theme(theme),
                Effect::Focus(message) => focus_message(message),
                Effect::Connect(address, token) => self.live.connect(address, token),
                Effect::Disconnect => self.live.disconnect(),
                Effect::AskLive(ask, address) => self.live.ask(ask, &address),
                Effect::Supervise(action) => self.live.supervise(&action),
                // The session has carried it out.
                Effect::Sim(_) => {}
            }
        }
    }

    /// Opens the place that the address names, or reports why the address is invalid.
    fn open(&mut self, fragment: &str) {
        match Place::parse(fragment) {
            Ok(place) => self.act(Action::Open(place)),
            Err(error) => {
                self.act(Action::Again);
                self.act(Action::Notice(error.to_string()));
            }
        }
    }

    /// Requests another frame while something moves, and only then.
    fn keep_moving(&mut self, ctx: &Context<Self>) {
        if !self.session.model.moves() {
            self.frame = None;
            self.drawn_at = None;
        } else if self.frame.is_none() {
            let link = ctx.link().clone();
            let draw = move |time| link.send_message(Message::Frame(time));
            self.frame = Some(request_animation_frame(draw));
        }
    }

    fn read_on(&mut self) {
        let mut texts = std::mem::take(&mut self.texts);
        let Reading { number, crowded, .. } = self.session.model.reading;
        let (model, dispatch) = (&self.session.model, &self.dispatch);
        texts.follow(number, crowded, |panel| match panel {
            Panel::Matrix => matrix::panel(model, dispatch),
            Panel::Store => store::panel(model, dispatch),
            Panel::Events => events::panel(model, dispatch),
            Panel::Tape => scrub::panel(model, dispatch),
        });
        self.texts = texts;
    }

    fn copy(&self, text: String) {
        let dispatch = self.dispatch.clone();
        spawn_local(async move {
            let words = match files::copy(text).await {
                Ok(()) => "Copied.",
                Err(_) => "The browser blocks the clipboard: select the text and copy it.",
            };
            dispatch.emit(Action::Notice(words.to_owned()));
        });
    }

    fn save(&self, save: Save) {
        let dispatch = self.dispatch.clone();
        spawn_local(async move {
            if picture::save(save).await.is_err() {
                dispatch
                    .emit(Action::Notice("The browser refused to draw the picture.".to_owned()));
            }
        });
    }

    fn load(&self, file: web_sys::File) {
        let dispatch = self.dispatch.clone();
        spawn_local(async move {
            dispatch.emit(match files::read(file).await {
                Ok(text) => Action::Load(text),
                Err(_) => Action::Notice("This file cannot be read.".to_owned()),
            });
        });
    }

    /// The addresses of the shown run, while the dialog to share it is open.
    fn links(&self) -> Option<Links> {
        let model = &self.session.model;
        model.ui.share.then(|| {
            let fragment = model.place().fragment();
            let address = |query| browser::address(query, &fragment);
            Links { link: address(""), frame: address("?embed=1") }
        })
    }
}

/// Listens for keys and for edits of the address.
fn listeners(ctx: &Context<App>) -> Vec<EventListener> {
    let window = gloo_utils::window();
    let link = ctx.link().clone();
    let options = EventListenerOptions::enable_prevent_default();
    let keys = EventListener::new_with_options(&window, "keydown", options, move |event| {
        if let Some(key) = browser::command_key(event) {
            link.send_message(Message::Key(key));
        }
    });
    let link = ctx.link().clone();
    let address = EventListener::new(&window, "hashchange", move |_| {
        let action = match Place::parse(&browser::fragment()) {
            Ok(place) => Action::Open(place),
            Err(error) => Action::Notice(error.to_string()),
        };
        link.send_message(Message::Act(action));
    });
    vec![keys, address]
}

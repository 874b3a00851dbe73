//! The root component: connects the session to the browser. Only this module and `source::live` use
//! the clock, storage, address and network.

mod browser;
mod files;
mod picture;
mod texts;

use std::rc::Rc;

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
use crate::model::{Action, Effect, List, Save, UiAction};
use crate::num;
use crate::scene::marks::Marks;
use crate::scene::{self, Scene};
use crate::session::Session;
use crate::source::live::LiveSource;
use crate::view::act::{Act, permits};
use crate::view::board::{Figures, board};
use crate::view::caption::caption;
use crate::view::compare::Compare;
use crate::view::events::{Events, clock};
use crate::view::help::Help;
use crate::view::history::History;
use crate::view::inspector::inspector;
use crate::view::lanes::lanes;
use crate::view::lesson::Lesson;
use crate::view::lessons::Lessons;
use crate::view::matrix::Matrix;
use crate::view::notice::notice;
use crate::view::promises::Promises;
use crate::view::scrub::scrub;
use crate::view::share::Share;
use crate::view::stage::{Stage, focus_message, menu_of};
use crate::view::store::Store;
use crate::view::tabs::{side_tabs, tabs};
use crate::view::top::Top;
use crate::view::transport::Transport;
use crate::view::tray::newest_order;
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
        let reading = &model.reading;
        let marks = Marks::of(&model.ui.selection, &reading.known);
        html! {
            <div
                class={classes!("page", model.ui.embedded.then_some("embedded"))}
                data-sheet={model.ui.sheet.name()}
                data-lesson={model.course.is_some().to_string()}
            >
                { self.top() }
                <main>
                    <div class="centre">
                        { caption(&model.story) }
                        { self.board() }
                        { self.stage(&marks) }
                        { tabs(model.ui.sheet, model.course.is_some(), model.ui.lanes.open, &self.dispatch) }
                        { self.texts.panel(Panel::Matrix) }
                    </div>
                    <div class="left">
                        if let Some(course) = &model.course {
                            <Lesson course={course.clone()} dispatch={self.dispatch.clone()} />
                        }
                        { self.acting() }
                    </div>
                    <div class="side">
                        { side_tabs(model.ui.sheet, &self.dispatch) }
                        { self.texts.panel(Panel::Store) }
                        { self.texts.panel(Panel::Events) }
                        { inspector(model, &self.dispatch) }
                    </div>
                </main>
                <footer class="dock">
                    { lanes(model, &marks, &self.dispatch) }
                    { self.texts.panel(Panel::Tape) }
                    <Transport
                        source={model.source}
                        playing={model.playback.playing}
                        past={model.in_the_past()}
                        speed={model.playback.speed}
                        clock={clock(reading.now, model.source)}
                        lag={reading.lag.map(num::behind).map(AttrValue::from)}
                        pacing={model.permits_pacing()}
                        turns={(model.turn_before(), model.turn_after())}
                        undo={model.history.run.deeds > 0}
                        lanes={model.ui.lanes.open}
                        dispatch={self.dispatch.clone()}
                    />
                </footer>
                { notice(model.notice.as_ref(), &self.dispatch) }
                <Help open={model.ui.help} dispatch={self.dispatch.clone()} />
                <Lessons open={model.ui.list == Some(List::Lessons)} dispatch={self.dispatch.clone()} />
                { self.share() }
                { self.compare() }
                <Promises
                    open={model.ui.list == Some(List::Promises)}
                    violations={model.violations.clone()}
                    breach={model.breach.clone()}
                    feed={model.feed.clone()}
                    dispatch={self.dispatch.clone()}
                />
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
                Effect::Supervise(order) => self.live.supervise(&order),
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
        texts.follow(number, crowded, |panel| match panel {
            Panel::Matrix => self.matrix(),
            Panel::Store => self.store(),
            Panel::Events => self.events(),
            Panel::Tape => scrub(&self.session.model, &self.dispatch),
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

    fn compare(&self) -> Html {
        let Some(comparison) = &self.session.model.comparison else { return Html::default() };
        let branches = self.session.model.history.run.shown().map(|branch| branch.id);
        html! {
            <Compare
                comparison={comparison.clone()}
                branches={branches.collect::<Vec<_>>()}
                dispatch={self.dispatch.clone()}
            />
        }
    }

    fn share(&self) -> Html {
        let model = &self.session.model;
        if !model.ui.share {
            return Html::default();
        }
        let fragment = model.place().fragment();
        let link = browser::address("", &fragment);
        let frame = browser::address("?embed=1", &fragment);
        html! {
            <Share
                open={true}
                source={model.source}
                {link}
                embedded={format!("<iframe src=\"{frame}\" width=\"800\" height=\"600\"></iframe>")}
                digest={model.digest}
                now={model.playback.now}
                load={self.load.clone()}
                dispatch={self.dispatch.clone()}
            />
        }
    }

    fn top(&self) -> Html {
        let model = &self.session.model;
        html! {
            <Top
                source={model.source}
                seed={model.setup.seed}
                digest={model.digest}
                breach={model.breach.clone()}
                broken={model.broken_rule()}
                phase={model.live.phase.clone()}
                streams={model.live.streams()}
                left_out={model.reading.left_out}
                theme={model.ui.theme}
                dispatch={self.dispatch.clone()}
            />
        }
    }

    fn board(&self) -> Html {
        let model = &self.session.model;
        let (known, now) = (&model.known, model.playback.now);
        let vacancy = model.reign.vacancy();
        board(&Figures {
            leader: known.leader(),
            term: known.view.term(),
            running: (known.running(), known.voters().len(), known.majority()),
            vacancy: vacancy.map(|(leader, at, how)| (leader, now.since(at), how)),
            failover: model.reign.last,
            first_write: model.first_write(),
        })
    }

    fn stage(&self, marks: &Marks) -> Html {
        let model = &self.session.model;
        let scene = Scene::of(scene::Source {
            known: &model.known,
            read: &model.reading.known,
            now: model.playback.now,
            pace: model.pace(),
            size: model.ui.stage,
            marks,
            gesture: model.ui.hand.gesture(),
            refused: model.hand_refused(),
        });
        let menu = model.ui.menu.map(|node| menu_of(model, node));
        html! { <Stage scene={Rc::new(scene)} {menu} dispatch={self.dispatch.clone()} /> }
    }

    fn matrix(&self) -> Html {
        let model = &self.session.model;
        let reading = &model.reading;
        html! {
            <Matrix
                known={reading.known.clone()}
                marks={Marks::of(&model.ui.selection, &reading.known)}
                dispatch={self.dispatch.clone()}
            />
        }
    }

    fn store(&self) -> Html {
        let model = &self.session.model;
        let reading = &model.reading;
        html! {
            <Store
                desk={model.desk.clone()}
                known={reading.known.clone()}
                selected={model.ui.selection.server()}
                dispatch={self.dispatch.clone()}
            >
                <History
                    clients={reading.clients.clone()}
                    source={model.source}
                    now={model.playback.now}
                />
            </Store>
        }
    }

    fn events(&self) -> Html {
        let model = &self.session.model;
        let reading = &model.reading;
        let marks = Marks::of(&model.ui.selection, &reading.known);
        html! {
            <Events
                feed={reading.feed.clone()}
                filter={model.ui.filter.clone()}
                chosen={(marks.event, marks.message)}
                roster={reading.known.roster.clone()}
                source={model.source}
                dispatch={self.dispatch.clone()}
            />
        }
    }

    fn acting(&self) -> Html {
        let model = &self.session.model;
        let selected = model.ui.selection.server();
        let process = selected.and_then(|node| model.live.process(node));
        let process = process.map(|process| match process.pid {
            Some(pid) => format!("pid {pid}"),
            None => "ended".to_owned(),
        });
        html! {
            <Act
                known={model.reading.known.clone()}
                servers={model.ui.selection.servers()}
                {selected}
                message={model.ui.selection.message()}
                permits={permits(model)}
                tray={model.ui.tray}
                playing={model.playback.playing}
                conditions={model.conditions.clone()}
                setup={model.setup}
                broken={model.broken_rule()}
                order={newest_order(model)}
                source={model.source}
                cluster={model.live.typed.clone()}
                token={model.live.wants_token().then(|| model.live.token.clone())}
                {process}
                dispatch={self.dispatch.clone()}
            />
        }
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

//! Exports the stage as a self-contained SVG file or as a PNG image.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gloo_utils::{document, window};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{CanvasRenderingContext2d, Element, HtmlCanvasElement, HtmlImageElement};

use super::files;
use crate::model::Save;

/// The CSS properties that are copied into the drawing.
const PROPERTIES: [&str; 20] = [
    "fill",
    "fill-opacity",
    "stroke",
    "stroke-width",
    "stroke-dasharray",
    "stroke-dashoffset",
    "stroke-linecap",
    "stroke-linejoin",
    "stroke-opacity",
    "opacity",
    "font-family",
    "font-size",
    "font-weight",
    "letter-spacing",
    "text-anchor",
    "dominant-baseline",
    "paint-order",
    "display",
    "visibility",
    "filter",
];

/// Pixels of the image per CSS pixel.
const SCALE: f64 = 2.0;

/// Saves the stage as a file.
pub(super) async fn save(save: Save) -> Result<(), JsValue> {
    let stage = document().query_selector(".stage > svg")?.ok_or("there is no stage")?;
    let drawing = drawing(&stage)?;
    match save {
        Save::Svg => files::give("glassraft.svg", "image/svg+xml", &drawing),
        Save::Png => {
            let picture = picture(&stage, &drawing).await?;
            files::follow("glassraft.png", &picture)
        }
    }
}

/// The stage as SVG text that needs no style sheet.
fn drawing(stage: &Element) -> Result<String, JsValue> {
    let copy: Element = stage.clone_node_with_deep(true)?.unchecked_into();
    let mut colours = Colours::new()?;
    inline(stage, &copy, &mut colours)?;
    let (originals, copies) = (stage.query_selector_all("*")?, copy.query_selector_all("*")?);
    for place in 0..originals.length() {
        let (Some(original), Some(copy)) = (originals.item(place), copies.item(place)) else {
            continue;
        };
        inline(original.unchecked_ref(), copy.unchecked_ref(), &mut colours)?;
    }
    copy.set_attribute("xmlns", "http://www.w3.org/2000/svg")?;
    let ground = document().query_selector(".centre")?.ok_or("there is no stage")?;
    let ground = window().get_computed_style(&ground)?.ok_or("there is no style")?;
    let ground = colours.plain(&ground.get_property_value("background-color")?)?;
    let back = document().create_element_ns(Some("http://www.w3.org/2000/svg"), "rect")?;
    for (name, value) in [("width", "100%"), ("height", "100%"), ("fill", &ground)] {
        back.set_attribute(name, value)?;
    }
    copy.prepend_with_node_1(&back)?;
    web_sys::XmlSerializer::new()?.serialize_to_string(&copy)
}

/// Copies the computed style of the original into the copy.
fn inline(original: &Element, copy: &Element, colours: &mut Colours) -> Result<(), JsValue> {
    let Some(style) = window().get_computed_style(original)? else { return Ok(()) };
    let mut text = String::new();
    for name in PROPERTIES {
        let value = style.get_property_value(name)?;
        let value = if matches!(name, "fill" | "stroke") { colours.plain(&value)? } else { value };
        if !value.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(text, "{name}:{};", value.replace('"', "'"));
        }
    }
    if !copy.has_attribute("transform") {
        let transform = style.get_property_value("transform")?;
        if transform != "none" {
            let origin = style.get_property_value("transform-origin")?;
            let _ = write!(text, "transform:{transform};transform-origin:{origin};");
        }
    }
    copy.remove_attribute("class")?;
    copy.remove_attribute("tabindex")?;
    copy.set_attribute("style", &text)
}

/// Converts colours to `rgb()` or `rgba()`. Many programs do not know the page's newer colour
/// syntax.
struct Colours {
    paper: CanvasRenderingContext2d,
    known: BTreeMap<String, String>,
}

impl Colours {
    fn new() -> Result<Self, JsValue> {
        let (_, paper) = canvas(1, 1)?;
        Ok(Self { paper, known: BTreeMap::new() })
    }

    fn plain(&mut self, colour: &str) -> Result<String, JsValue> {
        if colour == "none" || colour.contains("url(") {
            return Ok(colour.to_owned());
        }
        if let Some(known) = self.known.get(colour) {
            return Ok(known.clone());
        }
        self.paper.clear_rect(0.0, 0.0, 1.0, 1.0);
        self.paper.set_fill_style_str(colour);
        self.paper.fill_rect(0.0, 0.0, 1.0, 1.0);
        let dot = self.paper.get_image_data(0.0, 0.0, 1.0, 1.0)?.data();
        let plain = match dot.0.as_slice() {
            [red, green, blue, 255] => format!("rgb({red},{green},{blue})"),
            [red, green, blue, veil] => {
                format!("rgba({red},{green},{blue},{:.2})", f64::from(*veil) / 255.0)
            }
            _ => colour.to_owned(),
        };
        self.known.insert(colour.to_owned(), plain.clone());
        Ok(plain)
    }
}

/// Renders the drawing to PNG and returns it as a data URL.
async fn picture(stage: &Element, drawing: &str) -> Result<String, JsValue> {
    let image = HtmlImageElement::new()?;
    let text = String::from(js_sys::encode_uri_component(drawing));
    image.set_src(&format!("data:image/svg+xml;charset=utf-8,{text}"));
    JsFuture::from(image.decode()).await?;
    let size = stage.get_bounding_client_rect();
    let (width, height) = (size.width() * SCALE, size.height() * SCALE);
    let pixels = |length: f64| u32::try_from(crate::num::whole(length)).unwrap_or(0);
    let (canvas, paper) = canvas(pixels(width), pixels(height))?;
    paper.draw_image_with_html_image_element_and_dw_and_dh(&image, 0.0, 0.0, width, height)?;
    canvas.to_data_url_with_type("image/png")
}

fn canvas(
    width: u32,
    height: u32,
) -> Result<(HtmlCanvasElement, CanvasRenderingContext2d), JsValue> {
    let canvas: HtmlCanvasElement = document().create_element("canvas")?.unchecked_into();
    canvas.set_width(width);
    canvas.set_height(height);
    let paper = canvas.get_context("2d")?.ok_or("the browser cannot draw")?.unchecked_into();
    Ok((canvas, paper))
}

//! Files and the clipboard.

use gloo_utils::{document, window};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, BlobPropertyBag, HtmlElement, Url};

/// Downloads a file with this text.
pub(super) fn give(name: &str, kind: &str, text: &str) -> Result<(), JsValue> {
    let options = BlobPropertyBag::new();
    options.set_type(kind);
    let parts = js_sys::Array::of1(&JsValue::from_str(text));
    let blob = Blob::new_with_str_sequence_and_options(&parts, &options)?;
    let address = Url::create_object_url_with_blob(&blob)?;
    let given = follow(name, &address);
    // The browser has already taken the file over.
    Url::revoke_object_url(&address)?;
    given
}

/// Lets the browser download the content of an address.
pub(super) fn follow(name: &str, address: &str) -> Result<(), JsValue> {
    let link: HtmlElement = document().create_element("a")?.unchecked_into();
    link.set_attribute("href", address)?;
    link.set_attribute("download", name)?;
    link.click();
    Ok(())
}

/// Copies a text to the clipboard.
pub(super) async fn copy(text: String) -> Result<(), JsValue> {
    JsFuture::from(window().navigator().clipboard().write_text(&text)).await.map(drop)
}

/// Reads a file as text.
pub(super) async fn read(file: web_sys::File) -> Result<String, JsValue> {
    let text = JsFuture::from(file.text()).await?;
    text.as_string().ok_or_else(|| JsValue::from_str("no text"))
}

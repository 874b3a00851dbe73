//! Bytes in the JSON of requests and responses: a string for text, otherwise `{"hex": …}`.

use std::borrow::Cow;

use bytes::Bytes;
use raft_core::codec::text_or_bytes;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, Object, OneOf, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Bytes in JSON: a string, or `{"hex": "…"}` for bytes that are not text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonBytes(pub Bytes);

impl<'de> Deserialize<'de> for JsonBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonBytesVisitor)
    }
}

impl Serialize for JsonBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text_or_bytes::serialize(&self.0, serializer)
    }
}

impl PartialSchema for JsonBytes {
    fn schema() -> RefOr<Schema> {
        let text = Object::builder()
            .schema_type(Type::String)
            .description(Some("Bytes that are text, unchanged."));
        let digits =
            Object::builder().schema_type(Type::String).pattern(Some("^([0-9a-fA-F]{2})*$"));
        let hex = Object::builder()
            .schema_type(Type::Object)
            .property("hex", digits)
            .required("hex")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .description(Some("Other bytes, with two hexadecimal digits each."));
        let either = OneOf::builder()
            .item(text)
            .item(hex)
            .description(Some("Bytes: a string if they are text, otherwise `{\"hex\": …}`."));
        RefOr::T(Schema::OneOf(either.build()))
    }
}

impl ToSchema for JsonBytes {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Bytes")
    }
}

struct JsonBytesVisitor;

impl<'de> Visitor<'de> for JsonBytesVisitor {
    type Value = JsonBytes;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string or {\"hex\": \"…\"}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<JsonBytes, E> {
        Ok(JsonBytes(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonBytes, A::Error> {
        let Some((name, digits)) = map.next_entry::<String, String>()? else {
            return Err(de::Error::missing_field("hex"));
        };
        if name != "hex" {
            return Err(de::Error::unknown_field(&name, &["hex"]));
        }
        if let Some(more) = map.next_key::<String>()? {
            return Err(de::Error::unknown_field(&more, &["hex"]));
        }
        from_hex(&digits)
            .map(JsonBytes)
            .ok_or_else(|| de::Error::custom("`hex` needs an even number of hexadecimal digits"))
    }
}

fn from_hex(text: &str) -> Option<Bytes> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).ok();
    (0..text.len()).step_by(2).map(digits).collect()
}

//! What comes with a request: a body, most often of JSON, within bounds.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;

use super::refused::Refused;

/// Most characters of what a parser says about a body, which may quote all of it.
const MESSAGE_CHARS_MAX: usize = 200;

/// A struct that is sent as an object. By itself a struct would also be read from an array of its
/// fields, which the document does not say.
#[derive(Clone, Debug, Default)]
pub(super) struct Object<T>(pub(super) T);

/// Reads an [`Object`].
struct Entries<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Entries(PhantomData)).map(Self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(entries))
    }
}

/// Reads a body of at most `bytes_max`, an object. JSON is nested 128 deep at most.
///
/// Its type is not asked for: no form of another site can send the token that has come with it.
pub(super) async fn json<T: DeserializeOwned>(
    request: Request,
    bytes_max: usize,
) -> Result<T, Refused> {
    let body = bytes(request, bytes_max).await?;
    let read = serde_json::from_slice(&body).map(|Object(read)| read);
    read.map_err(|error| {
        let message: String = error.to_string().chars().take(MESSAGE_CHARS_MAX).collect();
        match error.classify() {
            Category::Data => Refused::wrong(message, "body"),
            Category::Io | Category::Syntax | Category::Eof => Refused::malformed(message),
        }
    })
}

/// Reads a body of at most `bytes_max`.
pub(super) async fn bytes(request: Request, bytes_max: usize) -> Result<Bytes, Refused> {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| bytes_max as u64 <= length) {
        return Err(Refused::too_long(bytes_max));
    }
    // Whoever has gone away does not read what is said.
    let body = axum::body::to_bytes(request.into_body(), bytes_max).await;
    body.map_err(|_| Refused::too_long(bytes_max))
}

//! From the name of a method to its number, after a look at whether both ends mean the same by it.

use std::sync::OnceLock;

use strait_frame::Codec;
use strait_transport::{CODEC_ANY, Options};

use crate::{
    METHODS_SCHEMA, SERVICE_RPC,
    description::{Description, MethodInfo, MethodKind},
    encode::schema,
    error::Error,
    foreign::{tame, tame_to},
};

/// What a service said of itself, once it was asked.
#[derive(Debug, Default)]
pub(crate) struct Names {
    description: OnceLock<Description>,
}

impl Names {
    pub(crate) fn known(&self) -> Option<&Description> {
        self.description.get()
    }

    pub(crate) fn learn(&self, description: Description) -> &Description {
        self.description.get_or_init(|| description)
    }
}

/// As a client that compares types per method.
pub(crate) fn identify(options: &Options) -> Options {
    let trace_context = crate::CARRIES_TRACES;
    Options { service: SERVICE_RPC, codec: CODEC_ANY, schema: METHODS_SCHEMA, trace_context, ..options.clone() }
}

impl Description {
    /// The number of a method that is of this kind and has these types.
    pub(crate) fn resolve<C, Req, Resp>(&self, name: &str, kind: MethodKind) -> Result<u16, Error>
    where
        C: Codec<Req> + Codec<Resp>,
    {
        let method = self.named(name, kind)?;
        let (found, expected) = (method.schema, schema::<C, Req, Resp>());
        if found != expected {
            let what = format!("its types are others than this client's (schema {found:#x}, expected {expected:#x})");
            return Err(Error::Method { name: name.into(), what: what.into() });
        }
        Ok(method.id)
    }

    /// The number of a method that takes JSON.
    pub(crate) fn resolve_json(&self, name: &str) -> Result<u16, Error> {
        let method = self.named(name, MethodKind::Call)?;
        if !method.json {
            let what = "it takes no JSON: the service has to add it with `call_json`".into();
            return Err(Error::Method { name: name.into(), what });
        }
        Ok(method.id)
    }

    fn named(&self, name: &str, kind: MethodKind) -> Result<&MethodInfo, Error> {
        let Some(method) = self.method(name) else {
            let what = format!("the service has no such method; it has: {}", self.listed());
            return Err(Error::Method { name: name.into(), what: what.into() });
        };
        if method.kind != kind {
            let what = format!("it is a {:?}, and was used as a {kind:?}", method.kind);
            return Err(Error::Method { name: name.into(), what: what.into() });
        }
        Ok(method)
    }
}

/// Most names that an error lists, and most characters of each.
const MAX_LISTED: usize = 16;
const MAX_NAME_CHARS: usize = 64;

impl Description {
    /// The names of its methods, as the server gave them: not to be trusted.
    fn listed(&self) -> String {
        let names = self.methods.iter().take(MAX_LISTED).map(|method| tame_to(&method.name, MAX_NAME_CHARS));
        let listed = names.collect::<Vec<_>>().join(", ");
        match self.methods.len().saturating_sub(MAX_LISTED) {
            0 => listed,
            more => format!("{listed} and {more} more"),
        }
    }
}

/// Reads the JSON that a reserved method, or one that was called with JSON, has answered with.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(message: &[u8]) -> Result<T, Error> {
    let body = message.get(crate::header::HEADER_BYTES..).unwrap_or_default();
    serde_json::from_slice(body).map_err(|error| Error::Json { what: tame(&error.to_string()).into() })
}

//! What a server sends by itself.

use std::fmt;

use strait_frame::Codec;
use strait_transport::Message;

use crate::{description::MethodKind, error::Error, names::Names, response::Response};

/// Something that the server sent by itself.
pub struct Event {
    name: String,
    schema: u64,
    message: Message,
}

impl Event {
    /// By its number, as the service's description names it.
    pub(crate) fn new(method: u16, message: Message, names: &Names) -> Result<Self, Error> {
        let known = names.known().and_then(|description| description.methods.get(usize::from(method)));
        match known {
            Some(method) if method.kind == MethodKind::Event => {
                Ok(Self { name: method.name.clone(), schema: method.schema, message })
            }
            _ => {
                let what = "the service's description names no such event".into();
                Err(Error::Method { name: method.to_string().into(), what })
            }
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says.
    ///
    /// # Errors
    ///
    /// [`Error::Method`] where the service means another type; [`Error::Decode`].
    pub fn read<C, T>(self) -> Result<Response<T, C>, Error>
    where
        C: Codec<T>,
    {
        let expected = crate::schema::<C, T, T>();
        if self.schema != expected {
            let found = self.schema;
            let what = format!("its type is another than this client's (schema {found:#x}, expected {expected:#x})");
            return Err(Error::Method { name: self.name.into(), what: what.into() });
        }
        Response::open(self.message)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("name", &self.name).finish_non_exhaustive()
    }
}

use std::collections::HashMap;
use std::sync::Arc;

use crate::service::{BatchEndpoint, Binding, Endpoint};

/// Which handler takes a message.
pub(crate) enum Handlers {
    /// One message at a time, by type.
    Single(Table<dyn Endpoint>),
    /// Batches, of one type or of all.
    Batch(Table<dyn BatchEndpoint>),
}

/// Handlers by message type.
pub(crate) struct Table<E: ?Sized> {
    by_type: HashMap<&'static str, Arc<E>>,
    rest: Option<Arc<E>>,
}

impl<E: ?Sized> Table<E> {
    fn new(handlers: Vec<(Option<&'static str>, Arc<E>)>) -> Result<Self, String> {
        let mut table = Self { by_type: HashMap::new(), rest: None };
        for (name, handler) in handlers {
            let (twice, what) = match name {
                Some(name) => {
                    let twice = table.by_type.insert(name, handler).is_some();
                    (twice, format!("type `{name}`"))
                }
                None => (table.rest.replace(handler).is_some(), "every other type".to_owned()),
            };
            if twice {
                return Err(format!("two handlers take {what}"));
            }
        }
        Ok(table)
    }

    /// The handler of a type. A message without a type goes to the only handler, if there is one.
    pub(super) fn find(&self, message_type: Option<&str>) -> Option<&Arc<E>> {
        let typed = match message_type {
            Some(name) => self.by_type.get(name),
            None if self.by_type.len() == 1 => self.by_type.values().next(),
            None => None,
        };
        match (message_type, &self.rest) {
            (None, Some(rest)) => Some(rest),
            (_, rest) => typed.or(rest.as_ref()),
        }
    }
}

impl Handlers {
    /// # Errors
    /// What is wrong with a consumer's handlers, as the end of a sentence.
    pub(crate) fn new(binding: Binding) -> Result<Self, String> {
        match (binding.singles.is_empty(), binding.batches.len()) {
            (false, 0) => Table::new(binding.singles).map(Self::Single),
            (true, 1) => Table::new(binding.batches).map(Self::Batch),
            (true, 0) => Err("it has a dedup_key but no handler".to_owned()),
            (true, _) => Err("it has two batch handlers; one takes one type, or all".to_owned()),
            (false, _) => Err("it has both single and batch handlers".to_owned()),
        }
    }
}

//! Why something ended, kept until it is known who asks.

use std::sync::Arc;

use crate::peer::Peer;
use crate::{ConnectError, Error};

/// Why a context, a channel or a wait for an answer ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The context never came up.
    Failed(Arc<ConnectError>),
    /// The context's stream ended, or the answer cannot come, for this reason.
    Lost(String),
    /// The other end of a channel closed it, with its reason if it gave one.
    Closed(Option<String>),
    /// The router was shut down.
    Shutdown,
}

impl End {
    /// The same for a context below the one that ended.
    pub(crate) fn of_parent(&self, lost: &Peer, context: &Peer) -> End {
        match self {
            End::Failed(error) => {
                let reason = format!("its parent did not come up: {error}");
                let via = context.parent().map_or_else(Vec::new, |parent| parent.way());
                let error = ConnectError { via, ..ConnectError::at_spawn(context.name(), reason) };
                End::Failed(Arc::new(error))
            }
            End::Lost(reason) => End::Lost(format!("{} was lost: {reason}", lost.name())),
            other => other.clone(),
        }
    }

    /// The error for somebody who waited for `what` from `context`.
    pub(crate) fn error(&self, context: &str, what: &str) -> Error {
        match self {
            End::Failed(error) => Error::Connect(error.clone()),
            End::Lost(reason) => Error::Disconnected {
                context: context.into(),
                what: what.into(),
                reason: reason.clone(),
            },
            End::Closed(reason) => Error::Closed { reason: reason.clone() },
            End::Shutdown => Error::Shutdown,
        }
    }
}

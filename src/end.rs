//! Why something ended, kept until it is known who asks.

use std::sync::Arc;

use crate::peer::Peer;
use crate::{ConnectError, Error, Stage};

/// Why a context, a channel or a wait for an answer ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The context never came up.
    Failed(Arc<ConnectError>),
    /// The context's stream ended, or the answer cannot come.
    Lost(Loss),
    /// The other end of a channel closed it, with its reason if it gave one.
    Closed(Option<String>),
    /// The router was shut down.
    Shutdown,
}

/// How a context came to be lost.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    /// The names of the contexts on the way to it, and its own; none where only one can ask.
    way: Vec<String>,
    /// The context above it that was lost, and this one with it.
    above: Option<String>,
    reason: String,
}

impl Loss {
    /// For those who know which context it is that ended.
    fn reason(&self) -> String {
        match &self.above {
            Some(above) => format!("{above} was lost: {}", self.reason),
            None => self.reason.clone(),
        }
    }

    /// For those who do not.
    pub(crate) fn words(&self) -> String {
        match self.way.join(" > ") {
            way if way.is_empty() => self.reason(),
            way => format!("{way} was lost: {}", self.reason()),
        }
    }
}

impl End {
    /// This context was lost.
    pub(crate) fn lost(context: &Peer, reason: impl Into<String>) -> End {
        End::Lost(Loss { way: context.way(), above: None, reason: reason.into() })
    }

    /// This context was asked to shut down.
    pub(crate) fn shut_down(context: &Peer) -> End {
        End::lost(context, "it was shut down")
    }

    /// The same where it is known to everybody who asks which one it is of.
    pub(crate) fn because(reason: impl Into<String>) -> End {
        End::Lost(Loss { way: Vec::new(), above: None, reason: reason.into() })
    }

    /// The same for a context below the one that ended.
    pub(crate) fn of_parent(&self, lost: &Peer, context: &Peer) -> End {
        match self {
            End::Failed(error) => {
                let reason = match error.stage {
                    Stage::Parent => error.reason.clone(),
                    _ => error.without_way(),
                };
                let stage = Stage::Parent;
                let (context, via) = (context.name().into(), context.via());
                let printed = error.printed.clone();
                let status = None;
                End::Failed(Arc::new(ConnectError { context, via, stage, reason, printed, status }))
            }
            End::Lost(Loss { above, reason, .. }) => End::Lost(Loss {
                way: context.way(),
                above: Some(above.clone().unwrap_or_else(|| lost.name().into())),
                reason: reason.clone(),
            }),
            other => other.clone(),
        }
    }

    /// The error for somebody who waited for `what` from `context`.
    pub(crate) fn error(&self, context: &Peer, what: &str) -> Error {
        self.error_at(context.name(), context.via(), what)
    }

    /// The error for an end of a channel that is here.
    pub(crate) fn channel_error(&self, what: &str) -> Error {
        match self {
            End::Lost(Loss { way, .. }) if !way.is_empty() => {
                let (name, via) = way.split_last().expect("it is not empty");
                self.error_at(name, via.to_vec(), what)
            }
            _ => self.error_at("channel", Vec::new(), what),
        }
    }

    fn error_at(&self, context: &str, via: Vec<String>, what: &str) -> Error {
        match self {
            End::Failed(error) => Error::Connect(error.clone()),
            End::Lost(loss) => Error::Disconnected {
                context: context.into(),
                via,
                what: what.into(),
                reason: loss.reason(),
            },
            End::Closed(reason) => Error::Closed { reason: reason.clone() },
            End::Shutdown => Error::Shutdown,
        }
    }
}

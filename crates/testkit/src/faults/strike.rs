use polymq_core::broker::Outcome;
use polymq_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep_until};

use super::plan::Planned;
use super::{Operation, PublishFault};

/// What a broker answers to something that is sent.
pub(super) trait Answer {
    fn is_confirmed(&self) -> bool;
    fn planned(operation: Operation, fault: PublishFault) -> Self;
}

fn error(operation: Operation, fault: PublishFault) -> Error {
    let kind = match fault {
        PublishFault::Rejected(kind)
        | PublishFault::Unconfirmed(kind)
        | PublishFault::Lost(kind) => kind,
        PublishFault::Silent => ErrorKind::Timeout,
    };
    Planned { operation, kind }.into()
}

impl Answer for Outcome {
    fn is_confirmed(&self) -> bool {
        self.is_confirmed()
    }

    fn planned(operation: Operation, fault: PublishFault) -> Self {
        match fault {
            PublishFault::Rejected(_) => Self::Rejected(error(operation, fault)),
            _ => Self::Unconfirmed(error(operation, fault)),
        }
    }
}

impl Answer for Result<()> {
    fn is_confirmed(&self) -> bool {
        self.is_ok()
    }

    fn planned(operation: Operation, fault: PublishFault) -> Self {
        Err(error(operation, fault))
    }
}

/// Forwards what is not planned to get lost, and answers for the rest.
pub(super) async fn strike<T, A: Answer, F: Future<Output = Vec<A>>>(
    operation: Operation,
    items: Vec<T>,
    faults: Vec<Option<PublishFault>>,
    deadline: Instant,
    forward: impl FnOnce(Vec<T>) -> F,
) -> Vec<A> {
    let silent = faults.contains(&Some(PublishFault::Silent));
    let arrives = |fault| matches!(fault, None | Some(PublishFault::Unconfirmed(_)));
    let items = items.into_iter().zip(&faults).filter(|(_, fault)| arrives(**fault));
    let mut answers = forward(items.map(|(item, _)| item).collect()).await.into_iter();
    let answer = |fault| match fault {
        None => answers.next(),
        Some(PublishFault::Unconfirmed(_)) => match answers.next()? {
            answer if answer.is_confirmed() => fault.map(|f| A::planned(operation, f)),
            answer => Some(answer),
        },
        Some(fault) => Some(A::planned(operation, fault)),
    };
    let answers = faults.into_iter().filter_map(answer).collect();
    if silent {
        sleep_until(deadline).await;
    }
    answers
}

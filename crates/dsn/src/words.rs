//! The text of a notice for people: what went wrong, what the receiver answered, what can be done.

use posthaste_mail::{Answered, Class, Failure, LocalCause, Reply, Stage, rfc5322_date};

use crate::{
    notice::{Ending, Notice, NoticeRecipient},
    text,
};

/// The first part, CRLF line ends, UTF-8.
pub(super) fn for_people(notice: &Notice<'_>) -> String {
    let original = &notice.original;
    let who = |count| match count {
        1 => "the recipient below".to_owned(),
        count => format!("the {count} recipients below"),
    };
    let (all, failed, delayed) = (notice.recipients.len(), notice.failed().count(), notice.delayed().count());
    let what = match failed {
        0 if delayed == all => format!("could not be delivered yet to {}. It is tried again by itself: nothing has to be done", who(all)),
        0 if delayed > 0 => format!("could not be delivered yet to {delayed} of the {all} recipients below. It is tried again by itself"),
        0 => format!("was handed over for {}. Whether it is read is not told", who(all)),
        _ if failed == all => format!("was not delivered to {}, and it will not be tried again", who(all)),
        _ => format!("was not delivered to {failed} of the {all} recipients below, and will not be tried again for them"),
    };
    let mut out = format!(
        "This is the mail system at {}.\n\nYour message {what}.\n\
         Recipients that are not named here are not concerned.\n\nAccepted:  {}\nQueue id:  {}\n",
        notice.hostname,
        rfc5322_date(original.arrived),
        original.id
    );
    if let Some(id) = original.message_id.filter(|id| text::is_message_id(id)) {
        out += &format!("Message-ID: {id}\n");
    }
    for recipient in notice.recipients {
        out += &about(recipient);
    }
    out += "\nThe details for programs and the header of your message are attached.\n";
    out.replace('\n', "\r\n")
}

fn about(failed: &NoticeRecipient) -> String {
    if matches!(failed.ending, Ending::Relayed | Ending::Traced) {
        let host = failed.mx_host.as_deref().map_or_else(|| "the receiving host".into(), text::ascii_line);
        let then = if failed.ending == Ending::Relayed { ", from where no further notices come" } else { "" };
        return format!("\n<{}>\n  It was handed over to {host}{}.\n", failed.rcpt, then);
    }
    let (problem, advice) = meaning(failed);
    let mut out = format!("\n<{}>\n", failed.rcpt);
    match failed.ending {
        Ending::Expired => {
            out += &match failed.attempts {
                0 => "  It could not be tried before the time allowed for delivery was over.\n".to_owned(),
                1 => "  It was tried once, and the time allowed for delivery is over.\n".to_owned(),
                times => format!("  It was tried {times} times until the time allowed for delivery was over.\n"),
            };
        }
        Ending::TooLate => out += "  It could not be delivered within the time that you gave it (DELIVERBY), so it was given up.\n",
        Ending::Relayed | Ending::Traced | Ending::Bounced | Ending::Delayed => {}
    }
    match failed.ending {
        Ending::Delayed => {
            let until = failed.retry_until.map_or_else(String::new, |at| format!(" until {}", rfc5322_date(at)));
            out += &format!("  {problem}\n  It is tried again{until}.\n");
        }
        _ => out += &format!("  {problem}\n  What to do: {advice}\n"),
    }
    match &failed.failure {
        Some(Failure::Refused { stage, reply }) => out += &answer(failed.host(), "answered", *stage, reply),
        Some(Failure::Local { .. }) if let Some(Answered { mx_host, stage, reply }) = &failed.earlier => {
            out += &answer(mx_host.as_deref(), "had answered", *stage, reply);
        }
        Some(Failure::Local { .. }) if failed.was_held_back() => {}
        Some(Failure::Local { detail, .. }) => {
            for line in text::lines(detail) {
                out += &format!("    {line}\n");
            }
        }
        None => {}
    }
    out
}

/// A host's answer, in its own words.
fn answer(host: Option<&str>, answered: &str, stage: Stage, reply: &Reply) -> String {
    let host = host.map_or_else(|| "The receiving host".into(), text::ascii_line);
    let lines = text::lines(&reply.to_string()).into_iter().map(|line| format!("    {line}\n"));
    std::iter::once(format!("  {host} {answered} {}:\n", asked(stage))).chain(lines).collect()
}

/// The part of the dialogue that the receiver answered.
fn asked(stage: Stage) -> &'static str {
    match stage {
        Stage::Dns | Stage::Connect | Stage::Banner => "the connection",
        Stage::Ehlo => "the greeting (EHLO)",
        Stage::Starttls => "the request for encryption (STARTTLS)",
        Stage::Auth => "the login (AUTH)",
        Stage::Mail => "the sender's address (MAIL FROM)",
        Stage::Rcpt => "the recipient's address (RCPT TO)",
        Stage::Data => "the announcement of the message (DATA)",
        Stage::Dot => "the message",
        Stage::Rset => "a reset (RSET)",
    }
}

/// The problem and the remedy, as a sentence each.
fn meaning(failed: &NoticeRecipient) -> (&'static str, &'static str) {
    match &failed.failure {
        None if failed.ending == Ending::Delayed => {
            ("It was not delivered within the time that you gave it (DELIVERBY).", "Nothing: it is tried again by itself.")
        }
        None => (
            "There was no chance to hand it over in that time.",
            "Ask the operator of this mail system; the message itself may be sent again.",
        ),
        Some(Failure::Local { cause, .. }) => of_cause(*cause),
        Some(Failure::Refused { reply, .. }) if failed.class == Class::ConnectionFailure && is_about_a_loop(reply) => (
            "The message went in circles between mail systems.",
            "Tell the recipient's mail administrator; sending it again does not help.",
        ),
        Some(Failure::Refused { .. }) => of_class(failed.class),
    }
}

/// Whether a receiver says that the message passed too many hosts (RFC 3463 §3.5, X.4.6; RFC 5321 §6.3).
fn is_about_a_loop(reply: &Reply) -> bool {
    let text = reply.text.to_ascii_lowercase();
    reply.enhanced.is_some_and(|code| (code.subject, code.detail) == (4, 6))
        || ["hops", "hop count", "loop"].iter().any(|word| text.contains(word))
}

fn of_class(class: Class) -> (&'static str, &'static str) {
    match class {
        Class::InvalidRecipient => {
            ("The receiver knows no such mailbox.", "Check the address for typing errors, and write no more to it if it is right.")
        }
        Class::InactiveMailbox => ("The mailbox exists but is closed or suspended.", "Reach the recipient in another way."),
        Class::BadDomain => ("The receiver takes no mail for this domain.", "Check what stands behind the @ for typing errors."),
        Class::MailboxFull => ("The recipient's mailbox is full.", "Send it again later, or reach the recipient in another way."),
        Class::MessageTooLarge => {
            ("The message is larger than the receiver takes.", "Send it again without attachments, or with smaller ones.")
        }
        Class::SpamContent => {
            ("The receiver judged the message unwanted by its content.", "Change what it says or links to before you send it again.")
        }
        Class::IpReputation => (
            "The receiver takes no mail from this mail system's address for now.",
            "Ask the operator of this mail system: an address is on a block list or has a low reputation.",
        ),
        Class::PolicyAuth => (
            "The receiver's policy refused it: it could not be proven to come from your domain, or the policy has another rule.",
            "Ask the operator of this mail system or of your domain to check SPF, DKIM, DMARC and reverse DNS.",
        ),
        Class::RateLimited => (
            "The receiver takes no more mail from here for now.",
            "Send it again later; the operator of this mail system may have to send slower.",
        ),
        Class::Greylisting => {
            ("The receiver asked to come back later, each time.", "Send it again, or ask the recipient's mail administrator.")
        }
        Class::ProtocolError => {
            ("The receiver did not understand this mail system, or the other way round.", "Ask the operator of this mail system.")
        }
        Class::DnsFailure => (
            "The receiver's names could not be looked up.",
            "Send it again later; if it fails again, tell the recipient's mail administrator.",
        ),
        Class::ConnectionFailure => (
            "The receiver could not be reached, or the connection broke.",
            "Send it again later; if it fails again, tell the recipient's mail administrator.",
        ),
        Class::TlsFailure => ("The connection could not be encrypted as it has to be.", "Tell the recipient's mail administrator."),
        Class::RelayingDenied => (
            "The receiver says that it takes no mail for this domain.",
            "Check the address; if it is right, tell the recipient's mail administrator.",
        ),
        Class::AutoReply => ("The receiver answered by itself.", "Read its answer below."),
        Class::TransientOther => {
            ("The receiver did not take the message.", "Read its answer below, and send the message again if that can help.")
        }
    }
}

fn of_cause(cause: LocalCause) -> (&'static str, &'static str) {
    match cause {
        LocalCause::NoSuchDomain => ("The domain behind the @ does not exist.", "Check the address for typing errors."),
        LocalCause::NullMx => ("The domain behind the @ says that it takes no mail.", "Check the address; this domain cannot get mail."),
        LocalCause::NoHosts => ("The domain behind the @ has no mail server.", "Check the address for typing errors."),
        LocalCause::DnsUnavailable => of_class(Class::DnsFailure),
        LocalCause::TlsRequired | LocalCause::TlsFailed => of_class(Class::TlsFailure),
        LocalCause::NotSmtp => ("The receiver's host did not speak the language of mail.", "Tell the recipient's mail administrator."),
        LocalCause::Loop => {
            ("The mail servers of this domain lead back to this mail system.", "Ask the operator of this mail system, or of the domain.")
        }
        LocalCause::SourceUnavailable | LocalCause::RelayUnable | LocalCause::LocalError | LocalCause::Shutdown => {
            ("This mail system itself had a fault.", "Ask the operator of this mail system; the message itself may be sent again.")
        }
        LocalCause::TooLate => (
            "You wanted it to be delivered within a certain time (DELIVERBY), and that is over.",
            "Send it again if it is still of use, and allow more time.",
        ),
        LocalCause::HeldTooLong => (
            "This mail system held the message, because much more or much worse mail than usual came from its sender, and nobody released it.",
            "Ask the operator of this mail system; the message itself may be sent again.",
        ),
        LocalCause::NoBudget => (
            "This mail system limits, or has stopped, what it sends to this receiver, and the message became too old while it waited.",
            "Ask the operator of this mail system; the message itself may be sent again.",
        ),
        LocalCause::ConnectionRefused
        | LocalCause::SessionRefused
        | LocalCause::ConnectTimeout
        | LocalCause::Unreachable
        | LocalCause::ConnectionLost
        | LocalCause::Timeout => of_class(Class::ConnectionFailure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_circles_is_not_to_be_sent_again() {
        for text in ["5.4.6 Too many hops", "too many hops, this message is looping", "Hop count exceeded - possible mail loop"] {
            assert!(is_about_a_loop(&Reply::new(554, text)), "{text}");
        }
        assert!(!is_about_a_loop(&Reply::new(554, "5.4.1 no answer from host")));
    }

    #[test]
    fn every_class_and_cause_has_a_problem_and_a_remedy() {
        let all = Class::ALL.iter().map(|&class| of_class(class)).chain(LocalCause::ALL.iter().map(|&cause| of_cause(cause)));
        for (problem, advice) in all {
            assert!(problem.is_ascii() && advice.is_ascii() && problem.ends_with('.') && advice.ends_with('.'), "{problem} {advice}");
        }
    }
}

//! By what one knows a notice of a mail system: who writes, what the subject and the words say, which addresses stand there.

use super::opened::Opened;
use crate::text::{head, normalise};

/// Addresses in a text: `local@domain` with a dot in the domain, in the order they come.
pub(super) fn addresses(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('@').take(200) {
        let inner = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
        let start = match text[..at].strip_suffix('"').and_then(|t| t.rfind('"')) {
            Some(quote) => quote,
            None => text[..at].rfind(|c| !inner(c)).map_or(0, |i| i + text[i..].chars().next().map_or(1, char::len_utf8)),
        };
        let rest = &text[at + 1..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') || !c.is_ascii() && c.is_alphanumeric()))
            .unwrap_or(rest.len());
        let domain = rest[..end].trim_end_matches(['.', '-']);
        let local = text[start..at].trim_start_matches(['\'', '.', '/', '*', '-']);
        if !local.is_empty() && local.len() <= 128 && domain.len() >= 3 && domain.contains('.') {
            let from = at - local.len();
            found.push(&text[from..at + 1 + domain.len()]);
        }
    }
    found
}

/// A mail system writes: an empty return path, or a name that only mail systems have.
pub(super) fn is_from_a_mail_system(mail: &Opened) -> bool {
    let from = mail.headers.get("from").unwrap_or_default().to_ascii_lowercase();
    let path = mail.headers.get("return-path").unwrap_or_default().to_ascii_lowercase();
    SYSTEMS.iter().any(|s| from.contains(s) || path.contains(s)) || path.trim() == "<>" && !is_person(&from)
}

fn is_person(from: &str) -> bool {
    !from.contains("mail") && !from.contains("admin") && !from.contains("system") && !from.is_empty()
}

const SYSTEMS: [&str; 14] = [
    "mailer-daemon",
    "post_master",
    "mail system",
    "mailer_daemon",
    "mailerdaemon",
    "postmaster",
    "mail delivery",
    "mail-daemon",
    "maildaemon",
    "mail administrator",
    "maildelivery",
    "daemon@",
    "microsoftexchange",
    "mdaemon@",
];

/// The writer's name leaves no doubt.
pub(super) fn is_from_a_daemon(mail: &Opened) -> bool {
    let from = mail.headers.get("from").unwrap_or_default().to_ascii_lowercase();
    ["mailer-daemon", "mailer_daemon", "mail delivery s"].iter().any(|s| from.contains(s))
}

/// Nobody is to be told of this mail's own failure (RFC 5321 §4.5.5): notices are sent so.
pub(super) fn has_empty_return_path(mail: &Opened) -> bool {
    mail.headers.get("return-path").is_some_and(|p| p.trim() == "<>")
}

/// The subject speaks of a failure or a delay.
pub(super) fn subject_tells_of_failure(mail: &Opened) -> bool {
    let subject = normalise(&mail.subject);
    SUBJECTS.iter().any(|s| subject.contains(s))
}

const SUBJECTS: [&str; 111] = [
    " processing error",
    " delivery warning",
    " mail delivery",
    "失败",
    " undeliver",
    " non remis",
    " delivery failure",
    " delivery failed",
    " delivery status",
    " delivery notification",
    " delivery error",
    " delivery problem",
    " delivery has failed",
    " delivery report",
    " returned mail",
    " return to sender",
    " returned to sender",
    " returning to sender",
    " returning message to sender",
    " returned message",
    " failure notice",
    " failed mail",
    " mail failed",
    " mail failure",
    " mail error",
    " message not delivered",
    " mail system error",
    " could not send",
    " could not be delivered",
    " couldn t be delivered",
    " cannot be delivered",
    " not delivered",
    " nondeliverable",
    " non delivery",
    " nondelivery",
    " bounce",
    " rejected mail",
    " message rejected",
    " mail rejected",
    " error sending",
    " problem delivering",
    " unable to deliver",
    " unzustellbar",
    " nicht zugestellt",
    " zustellung",
    " nicht zustellbar",
    " fehler beim",
    " echec",
    " non distribu",
    " remise",
    " no se puede entregar",
    " no entregado",
    " devuelto",
    " devolvido",
    " nao entregue",
    " falha na entrega",
    " mancata consegna",
    " mancato recapito",
    " impossibile recapitare",
    " niet bezorgd",
    " onbestelbaar",
    " niedostarcz",
    "недоставлен",
    "не доставлен",
    "配信",
    "退信",
    " delivery delay",
    " delivery is delayed",
    " message delayed",
    " delivery incomplete",
    " nao foi possivel entregar",
    " no se pudo entregar",
    " no se ha podido entregar",
    " recapito non riuscito",
    " consegna non riuscita",
    " nie mozna dostarczyc",
    " nie dostarczono",
    " nie doreczono",
    " kunde inte levereras",
    " gick inte att leverera",
    " olevererat",
    " kunne ikke leveres",
    " kan ikke leveres",
    " ikke levert",
    " ikke leveret",
    " ei voitu toimittaa",
    " toimittaminen epaonnistui",
    " nedorucitelna",
    " nedorucen",
    " nelze dorucit",
    " kezbesithetetlen",
    " teslim edilemedi",
    " iletilemedi",
    " nu a putut fi livrat",
    " nelivrat",
    "δεν ήταν δυνατή η παράδοση",
    "αδύνατη η παράδοση",
    "не удалось доставить",
    "не вдалося доставити",
    "недоставлено",
    "未送达",
    "未送達",
    "无法投递",
    "無法傳遞",
    "投递失败",
    "배달되지",
    "배달 실패",
    "전송 실패",
    "送信失敗",
    "送信エラー",
    "エラーのお知らせ",
];

/// The words speak of a failure, as notices do.
pub(super) fn words_tell_of_failure(mail: &Opened) -> bool {
    let words = normalise(head(&mail.words, crate::text::TEXT_MAX));
    FAILURES.iter().any(|s| words.contains(s))
}

const FAILURES: [&str; 115] = [
    " failed recipient",
    " encountered an error",
    " error during delivery",
    " smtp error",
    " mailbox is full",
    " requested action not taken",
    " has been postponed",
    " invalid user",
    "无法投递",
    "无法送达",
    "投递失败",
    "退信",
    "배달",
    "配信",
    " could not be delivered",
    " couldn t be delivered",
    " cannot be delivered",
    " can t be delivered",
    " not be delivered",
    " was not delivered",
    " unable to deliver",
    " undeliverable",
    " could not deliver",
    " couldn t deliver",
    " can t deliver",
    " cannot deliver",
    " failed to deliver",
    " delivery failed",
    " delivery failure",
    " delivery has failed",
    " failed permanently",
    " permanent error",
    " permanent failure",
    " fatal error",
    " did not reach",
    " wasn t delivered",
    " has not been delivered",
    " transcript of session",
    " delivery to the following",
    " returned to sender",
    " was rejected",
    " message was not",
    " returned mail",
    " delivery error",
    " has been rejected",
    " failure reasons",
    " failed addresses",
    " following address",
    " following recipient",
    " delivery problems",
    " user unknown",
    " mailbox full",
    " no such user",
    " over quota",
    " delivery status notification",
    " quota violation",
    " returned unopened",
    " undelivered",
    " konnte nicht zugestellt",
    " nicht zugestellt",
    " nicht ubermittelt",
    " n a pas pu etre",
    " n a pu etre",
    " non remis",
    " no pudo ser entregado",
    " no se pudo entregar",
    " no se ha podido",
    " nao pode ser entregue",
    " nao foi possivel entregar",
    " impossibile",
    " non e stato possibile",
    " kon niet worden",
    " nie mogla",
    "не было доставлено",
    "не может быть доставлено",
    "送信できません",
    " couldn t be found",
    " fehler bei der nachrichtenzustellung",
    " fehlgeschlagen",
    " echec de la remise",
    " n a pas ete remis",
    " no se pudo entregar",
    " falha na entrega",
    " nao pode ser entregue",
    " nao foi entregue",
    " recapitare",
    " recapito",
    " bezorgd bij",
    " niet worden bezorgd",
    " niet worden afgeleverd",
    " nie powiodlo sie",
    " nie moze zostac dostarczon",
    " att leverera",
    " kunne ikke leveres",
    " ikke leveres",
    " ei voitu toimittaa",
    " nelze dorucit",
    " se nepodarilo dorucit",
    " nem sikerult kezbesiteni",
    " teslim edilemedi",
    " nu a putut fi livrat",
    "не удалось доставить",
    "не может быть отправлен",
    "не може бути доставлен",
    "не вдалося доставити",
    "无法发送",
    "无法送达",
    "被退回",
    "無法傳送",
    "送信に失敗",
    "配信に失敗",
    "送信できません",
    "お届けできません",
    "배달하지 못",
    "전달되지",
];

/// Late, and still being tried.
pub(super) fn tells_of_delay(mail: &Opened) -> bool {
    let words = normalise(head(&mail.words, crate::text::TEXT_MAX));
    let subject = normalise(&mail.subject);
    let says = |list: &[&str]| list.iter().any(|s| words.contains(s));
    let in_subject = [
        " delay",
        " still being retried",
        " not yet delivered",
        " verzoger",
        " retarde",
        " deferred",
        " retrasad",
        " atrasad",
        " ritard",
        " vertraagd",
        " opoznion",
        " forsenad",
        " forsink",
        " zpozden",
        "задерж",
        "затрим",
        "遅延",
        "延迟",
        "延遲",
        "지연",
    ]
    .iter()
    .any(|s| subject.contains(s));
    (in_subject && !says(&GIVEN_UP)) || (says(&RETRIED) && !says(&GIVEN_UP))
}

const RETRIED: [&str; 40] = [
    " is delayed for",
    " only a temporary failure",
    " kept in the queue",
    " postponed",
    " continue to try",
    " attempts will continue",
    " has been delayed",
    " will be retried",
    " will continue to be",
    " will continue trying",
    " will keep trying",
    " warning message only",
    " do not need to resend",
    " is still being",
    " still trying",
    " will try again",
    " not yet been delivered",
    " delivery attempts will continue",
    " attempts to deliver the message will continue",
    " keep trying until",
    " will be attempted again",
    " temporarily deferred and will",
    " delivery will be",
    " no action is required",
    " still being retried",
    " we will continue",
    " has not yet been",
    " wird weiter versucht",
    " hasn t been delivered yet",
    " has not been delivered yet",
    " n a pas encore ete remis",
    " noch nicht zugestellt",
    " todavia no se ha entregado",
    " aun no se ha entregado",
    " ainda nao foi entregue",
    " non e ancora stat",
    " nog niet bezorgd",
    " jeszcze nie",
    "ещё не доставлен",
    "еще не доставлен",
];
const GIVEN_UP: [&str; 14] = [
    " failed permanently",
    " permanent error",
    " permanent fatal error",
    " giving up",
    " given up",
    " will not be retried",
    " no further",
    " has been returned",
    " permanent failure",
    " not going to try again",
    " could not be delivered for the last",
    " message expired",
    " retry timeout exceeded",
    " unable to deliver your message",
];

/// `Content-Type: multipart/report; report-type=…`.
pub(super) fn is_report_type(mail: &Opened, kind: &str) -> bool {
    mail.headers.get("content-type").is_some_and(|c| c.to_ascii_lowercase().contains(kind))
}

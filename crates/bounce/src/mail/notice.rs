//! How a notice of a mail system is recognised: by its sender, its subject and the words in it.

use super::parsed::ParsedMail;
use crate::text::{head, normalise};

/// Whether a mail system sent it: by an empty return path, or by a name that only mail systems have.
pub(super) fn is_from_a_mail_system(mail: &ParsedMail) -> bool {
    let from = mail.headers.get("from").unwrap_or_default().to_ascii_lowercase();
    let path = mail.headers.get("return-path").unwrap_or_default().to_ascii_lowercase();
    SYSTEMS.iter().any(|s| from.contains(s) || path.contains(s)) || path.trim() == "<>" && !is_person(&from)
}

fn is_person(from: &str) -> bool {
    !from.contains("mail") && !from.contains("admin") && !from.contains("system") && !matches!(from.trim(), "" | "<>")
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

/// Whether the sender is certainly a mail system, by its name.
pub(super) fn is_from_a_daemon(mail: &ParsedMail) -> bool {
    let from = mail.headers.get("from").unwrap_or_default().to_ascii_lowercase();
    ["mailer-daemon", "mailer_daemon", "mail delivery s"].iter().any(|s| from.contains(s))
}

/// Whether the return path is empty, as it is for notices (RFC 5321 §4.5.5).
pub(super) fn has_empty_return_path(mail: &ParsedMail) -> bool {
    mail.headers.get("return-path").is_some_and(|p| p.trim() == "<>")
}

/// Whether the subject is about a failure or a delay.
pub(super) fn subject_tells_of_failure(mail: &ParsedMail) -> bool {
    let subject = normalise(&mail.subject);
    // Lists and filters name the message in between: "Your message to … was rejected".
    let of_a_list = LISTS.iter().any(|s| subject.starts_with(s)) && REFUSED.iter().any(|s| subject.contains(s));
    of_a_list || SUBJECTS.iter().any(|s| subject.contains(s))
}

const LISTS: [&str; 8] = [
    " your message",
    " your mail",
    " your email",
    " your e mail",
    " your post",
    " ihre nachricht",
    " votre message",
    " request to mailing list",
];
const REFUSED: [&str; 8] =
    [" rejected", " refused", " not accepted", " not permitted", " not allowed", " abgelehnt", " zuruckgewiesen", " refuse"];

const SUBJECTS: [&str; 115] = [
    " message blocked",
    " mail blocked",
    " email blocked",
    " are not member",
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

/// Whether the text is about a failure, in the words of notices.
pub(super) fn words_tell_of_failure(mail: &ParsedMail) -> bool {
    let words = normalise(head(&mail.words, crate::text::TEXT_MAX));
    FAILURES.iter().any(|s| words.contains(s))
}

const FAILURES: [&str; 122] = [
    " rejected your message to",
    " delivery incomplete",
    " temporary problem delivering",
    " not a valid user",
    " are not a member of this mailing list",
    " is not a valid recipient",
    " no longer accepts mail",
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

/// Whether delivery is late and still being tried.
pub(super) fn tells_of_delay(mail: &ParsedMail) -> bool {
    let words = normalise(head(&mail.words, crate::text::TEXT_MAX));
    let says = |list: &[&str]| list.iter().any(|s| words.contains(s));
    says(&NOT_GIVEN_UP) || ((subject_tells_of_delay(mail) || says(&RETRIED)) && !says(&GIVEN_UP))
}

/// Whether the subject is about a delay.
pub(super) fn subject_tells_of_delay(mail: &ParsedMail) -> bool {
    let subject = normalise(&mail.subject);
    [
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
    .any(|s| subject.contains(s))
}

/// Whether the text is about parcels or payments, which are delivered too.
pub(super) fn is_about_parcels(mail: &ParsedMail) -> bool {
    let words = normalise(head(&mail.words, crate::text::TEXT_MAX));
    PARCELS.iter().any(|s| words.contains(s))
}

const PARCELS: [&str; 18] = [
    " parcel",
    " payment",
    " your invoice",
    " direct debit",
    " ihre zahlung",
    " votre paiement",
    " su pago",
    " your package",
    " shipment",
    " your order",
    " our driver",
    " ihr paket",
    " ihre sendung",
    " votre colis",
    " su paquete",
    " il tuo pacco",
    " uw pakket",
    " encomenda",
];

/// These words hold although those of [`GIVEN_UP`] may stand in them.
const NOT_GIVEN_UP: [&str; 4] = [" not giving up", " not given up", " haven t given up", " hasn t given up"];

const RETRIED: [&str; 42] = [
    " will retry for",
    " temporary problem delivering",
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

/// Whether the mail is of this report type: `Content-Type: multipart/report; report-type=…`.
pub(super) fn is_report_type(mail: &ParsedMail, kind: &str) -> bool {
    mail.headers.get("content-type").is_some_and(|c| c.to_ascii_lowercase().contains(kind))
}

//! Automatic replies (RFC 3834): vacation notes, receipts, challenges. They come from people's mailboxes, not from mail systems.

use super::{notice, parsed::ParsedMail};
use crate::text::normalise;

/// Whether the mail is an automatic reply of a mailbox.
pub(super) fn is_auto_reply(mail: &ParsedMail) -> bool {
    if notice::is_from_a_mail_system(mail) || mail.headers.get("x-failed-recipients").is_some() {
        return false;
    }
    let subject = normalise(&mail.subject);
    let subject_says = SUBJECTS.iter().any(|s| subject.contains(s));
    if notice::subject_tells_of_failure(mail) {
        return subject_says && !notice::words_tell_of_failure(mail);
    }
    subject_says || headers_say(mail) || text_says(mail)
}

/// Whether the text begins as automatic replies do whose subject and header do not say it.
fn text_says(mail: &ParsedMail) -> bool {
    let begin = normalise(crate::text::head(mail.words.trim_start(), BEGIN_MAX));
    let says = |list: &[&str]| list.iter().any(|words| begin.contains(words));
    says(&TEXTS) || (says(&AWAY) && says(&UNTIL)) || (says(&RECEIVED) && is_by_a_program(mail, &begin))
}

/// Whether the header or the text shows that no person wrote a receipt: it is marked as automatic, has a number, or wants no answer.
fn is_by_a_program(mail: &ParsedMail, begin: &str) -> bool {
    let is_marked = mail.headers.get("auto-submitted").is_some_and(|value| !value.trim().eq_ignore_ascii_case("no"));
    let subject = normalise(&mail.subject);
    is_marked || PROGRAMS.iter().any(|words| begin.contains(words) || subject.contains(words))
}

/// Why somebody is away, and until when: both together are an absence, in whatever words.
const AWAY: [&str; 34] = [
    " on vacation",
    " on holiday",
    " annual leave",
    " parental leave",
    " maternity leave",
    " sick leave",
    " out of the office",
    " away from my desk",
    " im urlaub",
    " nicht im buro",
    " nicht im haus",
    " elternzeit",
    " mutterschutz",
    " en conge",
    " en vacances",
    " absent du bureau",
    " de vacaciones",
    " fuera de la oficina",
    " de baja",
    " in ferie",
    " in vacanza",
    " fuori ufficio",
    " de ferias",
    " fora do escritorio",
    " na urlopie",
    " poza biurem",
    " met vakantie",
    " op vakantie",
    " pa semester",
    " pa ferie",
    " na dovolene",
    "в отпуске",
    "休暇を",
    "休假",
];
const UNTIL: [&str; 26] = [
    " until ",
    " till ",
    " through ",
    " return on",
    " back on",
    " back in the office",
    " returning",
    " bis zum ",
    " bis einschl",
    " wieder erreichbar",
    " jusqu",
    " de retour",
    " hasta el",
    " regreso",
    " fino al",
    " rientro",
    " ate o dia",
    " ate dia",
    " retorno",
    " do dnia",
    " wracam",
    " tot en met",
    " terug op",
    " tillbaka",
    " до ",
    "まで",
];
/// What receipts begin with, and what shows that a program writes them.
const RECEIVED: [&str; 24] = [
    " received your request",
    " received your message",
    " received your email",
    " received your e mail",
    " received your mail",
    " received your inquiry",
    " received your enquiry",
    " request has been received",
    " message has been received",
    " email has been received",
    " thank you for contacting",
    " thanks for contacting",
    " ihre anfrage erhalten",
    " ihre nachricht erhalten",
    " ihre e mail erhalten",
    " anfrage ist bei uns eingegangen",
    " recu votre demande",
    " recu votre message",
    " hemos recibido su",
    " abbiamo ricevuto la",
    " recebemos sua",
    " recebemos a sua",
    " otrzymalismy",
    "получили ваше",
];
const PROGRAMS: [&str; 14] = [
    " ticket",
    " case number",
    " case id",
    " reference number",
    " do not reply",
    " not reply to this",
    " nicht auf diese",
    " nicht auf dieses",
    " vorgangsnummer",
    " ne pas repondre",
    " no responda",
    " non rispondere",
    " nao responda",
    " nie odpowiada",
];

/// As much of a text is its beginning, in bytes: further down people quote others.
const BEGIN_MAX: usize = 400;

/// How automatic replies begin, in the form of [`normalise`].
const TEXTS: [&str; 56] = [
    " is an automatic reply",
    " is an automated reply",
    " is an auto reply",
    " is an automatic response",
    " is an automated response",
    " is an autoresponse",
    " automatically generated reply",
    " automatically generated response",
    " automatisch erzeugte antwort",
    " automatisch generierte antwort",
    " automatisch erstellte antwort",
    " automatische antwort",
    " automatische eingangsbestatigung",
    " reponse automatique",
    " reponse generee automatiquement",
    " respuesta automatica",
    " risposta automatica",
    " resposta automatica",
    " automatisch gegenereerd antwoord",
    " automatisch antwoord",
    " i am out of the office",
    " i am out of office",
    " i m out of the office",
    " i am currently out of",
    " i will be out of the office",
    " i am on vacation",
    " i am on annual leave",
    " i am away from the office",
    " bin derzeit nicht im buro",
    " ich bin nicht im buro",
    " bin zurzeit nicht im buro",
    " ich bin im urlaub",
    " je suis absent",
    " suis actuellement absent",
    " estoy fuera de la oficina",
    " estare fuera de la oficina",
    " sono fuori ufficio",
    " estou fora do escritorio",
    " ik ben afwezig",
    " jestem na urlopie",
    " jag ar pa semester",
    " jeg er pa ferie",
    "я в отпуске",
    "休暇中",
    " wurde automatisch erzeugt bitte antworten",
    " wurde automatisch generiert bitte antworten",
    " automatisch generiert",
    " auf diese e mail nicht antworten",
    " do not reply to this automated",
    " this is an automated confirmation",
    " this is an automatic confirmation",
    " accuse de reception",
    " acuse de recibo",
    " ik ben met vakantie",
    " olen lomalla",
    " son de vacaciones",
];

/// Whether it is a challenge: the recipient's service wants the sender to prove that it is a person, and keeps the mail until then. Some
/// services send it as a delivery report.
pub(super) fn is_challenge(mail: &ParsedMail) -> bool {
    let by_header = ["x-bluebottle-request", "x-spamarrest-noauth", "x-boxbe-challenge", "x-challenge-response", "x-tmda-confirm-done"];
    if by_header.iter().any(|n| mail.headers.get(n).is_some()) {
        return true;
    }
    let words = normalise(crate::text::head(&mail.words, crate::text::TEXT_MAX));
    let says = |list: &[&str]| list.iter().any(|c| words.contains(c));
    !notice::is_from_a_daemon(mail) && (says(&CHALLENGES) || (says(&KEPT) && says(&PROVE)))
}

/// What a challenge says of the message or of its sender, and what it asks for: both together make one, in whatever words.
const KEPT: [&str; 17] = [
    " known senders",
    " approved senders",
    " allowed senders",
    " trusted senders",
    " guest list",
    " waitlisted",
    " message is being held",
    " message has been held",
    " message is on hold",
    " mail is being held",
    " message is waiting",
    " you are human",
    " not a robot",
    " not a spammer",
    " protecting myself from",
    " held in quarantine",
    " so i can receive your",
];
const PROVE: [&str; 11] = [
    " confirm",
    " verify",
    " prove",
    " reply to this",
    " replying to this",
    " click ",
    " follow this link",
    " add yourself",
    " captcha",
    " bestatig",
    " confirme",
];

/// The words of challenges, in the form of [`normalise`].
const CHALLENGES: [&str; 20] = [
    " address added to the recipient s allowed list",
    " added to my guest list",
    " yourself to my boxbe guest list",
    " has been waitlisted",
    " sender not pre approved",
    " not in the recipient s list of approved senders",
    " not yet on my list of approved senders",
    " i don t recognize your e mail address",
    " confirm that you are a human",
    " confirm that you are a person",
    " confirm that you are a real person",
    " verify that you are a real live human",
    " prove that you are human",
    " verify that you are a real person",
    " your message is awaiting verification",
    " is being held until you",
    " held until you confirm",
    " bestatigen sie bitte ihre absenderadresse",
    " confirmer votre adresse d expediteur",
    " protected by a challenge response",
];

/// Whether the header says so: RFC 3834 §5 `Auto-Submitted: auto-replied`, and the fields used before it.
fn headers_say(mail: &ParsedMail) -> bool {
    let value = |name| mail.headers.get(name).unwrap_or_default().to_ascii_lowercase();
    let answers = ["in-reply-to", "references"].iter().any(|n| mail.headers.get(n).is_some());
    value("auto-submitted").starts_with("auto-replied")
        || (value("auto-submitted").starts_with("auto-generated") && answers)
        || value("precedence").contains("auto_reply")
        || [
            "x-autoreply",
            "x-autoreply-from",
            "x-autorespond",
            "x-autoresponder",
            "x-autoresponse",
            "x-auto-reply",
            "x-vacation",
            "x-mail-autoreply",
        ]
        .iter()
        .any(|n| !matches!(value(n).as_str(), "" | "no"))
        || value("x-autogenerated") == "reply"
        || value("x-mailer").contains("vacation")
}

/// Subjects of automatic replies, in the form of [`normalise`]: words between blanks.
const SUBJECTS: [&str; 126] = [
    " automatyczna odpowiedz",
    " odpowiedz automatyczna",
    " autoodpowiedzi",
    " nieobecnosc",
    " automatische ruckantwort",
    " automatische ruckmeldung",
    " automatische empfangsbestatigung",
    " ausser haus",
    " im urlaub",
    " reponse auto ",
    " message automatique",
    " message d absence",
    " mensaje automatico",
    " contestacion automatica",
    " mensagem automatica",
    " messaggio automatico",
    " automatische antwoord",
    " automatisch bericht",
    " niet aanwezig",
    " automatisk besvarelse",
    " automatisk beskjed",
    " ikke pa kontoret",
    " poissa",
    " olen lomalla",
    " ej pa plats",
    " automaattivastaus",
    " automaatvastus",
    " automatiska atbilde",
    " automatinis atsakymas",
    " sjalfvirkt svar",
    " automatski odgovor",
    " samodejni odgovor",
    " nepritomnost",
    " hazon kivul",
    " mesaj automat",
    " in concediu",
    " otomatik cevap",
    " balasan otomatis",
    "автовідповідь",
    "автоответчик",
    "автоматичен отговор",
    "аутоматски одговор",
    "в отпуске",
    "תשובה אוטומטית",
    "מענה אוטומטי",
    "رد تلقائي",
    "الرد التلقائي",
    "پاسخ خودکار",
    "ตอบกลับอัตโนมัติ",
    "不在通知",
    "自动答复",
    "自動答覆",
    "自动应答",
    "자동응답",
    "자동 응답",
    "자동회신",
    " out of office",
    " out of the office",
    " auto reply",
    " autoreply",
    " autoresponse",
    " auto response",
    " automatic reply",
    " automatic response",
    " vacation ",
    " on vacation",
    " on holiday",
    " away from my",
    " i am away",
    " i m away",
    " on leave",
    " automated reply",
    " automated response",
    " auto responder",
    " autoresponder",
    " abwesenheit",
    "abwesenheitsnotiz",
    " automatische antwort",
    " abwesend",
    " nicht im buro",
    " reponse automatique",
    " absence du bureau",
    " absent du bureau",
    " respuesta automatica",
    " fuera de la oficina",
    " resposta automatica",
    " risposta automatica",
    " fuori sede",
    " automatisch antwoord",
    " autosvar",
    " autoodpowiedz",
    "автоответ",
    "автоматический ответ",
    "自動返信",
    "自動応答",
    "自动回复",
    " afwezig",
    " poza biurem",
    " nieobecn",
    " assente",
    " assenza",
    " ausencia",
    " ausente",
    " franvaro",
    " franvarande",
    " fravaer",
    " fravaerende",
    " automaattinen vastaus",
    " automatiskt svar",
    " automatisk svar",
    " tavollet",
    " mimo kancelar",
    " automaticka odpoved",
    " automatikus valasz",
    " otomatik yanit",
    " ofis disinda",
    " raspuns automat",
    "автоматична відповідь",
    "вне офиса",
    "αυτόματη απάντηση",
    "不在通知",
    "不在の",
    "자동 회신",
    "부재중",
    "自動回覆",
    "外出自动回复",
];

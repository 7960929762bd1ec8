"""What the shipped rules make of responses as mail servers write them: community/bounces.toml before bounce_classifier/iana.toml."""
from kumotest import BASE, Sink, wait_for

# response, class with both files, class with iana.toml alone (None: the same)
RESPONSES = [
    ("550 5.1.1 <u@a.example>: Recipient address rejected: User unknown in local recipient table", "InvalidRecipient", None),
    ("550-5.1.1 The email account that you tried to reach does not exist.\n550 5.1.1 Please check for typos", "InvalidRecipient", None),
    ("550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "InvalidRecipient", "NoAnswerFromHost"),
    ("554 delivery error: dd This user doesn't have a yahoo.com account (u@a.example) [0]", "InvalidRecipient", "Uncategorized"),
    ("550 Requested action not taken: mailbox unavailable", "InvalidRecipient", "Uncategorized"),
    ("550 No such user here", "InvalidRecipient", "Uncategorized"),
    ("450 4.2.0 <u@a.example>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/a.example.html", "TransientFailure", "Uncategorized"),
    ("451 4.7.1 Greylisting in action, please come back later", "TransientFailure", "PolicyRelated"),
    ("450 4.2.0 Requested mail action not taken: mailbox unavailable", "Uncategorized", None),
    ("451 4.3.0 <u@a.example>: Temporary lookup failure", "TransientFailure", "Uncategorized"),
    ("550 5.2.1 The email account that you tried to reach is inactive.", "InactiveMailbox", None),
    ("554 5.7.1 This account has been disabled or discontinued [#102].", "InactiveMailbox", "PolicyRelated"),
    ("552-5.2.2 The recipient's inbox is out of storage space.\n552 5.2.2 please direct the recipient elsewhere", "QuotaIssues", None),
    ("452 4.2.2 Mailbox full", "QuotaIssues", None),
    ("552 Mailbox is over quota", "QuotaIssues", "Uncategorized"),
    ("552 5.3.4 Message size exceeds fixed limit", "QuotaIssues", None),
    ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", "InvalidRecipient", "BadDomain"),
    ("556 5.1.10 Recipient address has null MX", "BadDomain", None),
    ("450 4.1.8 <s@from.example>: Sender address rejected: Domain not found", "InvalidSender", None),
    ("553 5.1.8 <s@from.example>... Domain of sender address s@from.example does not exist", "InvalidSender", None),
    ("550 Sender verify failed", "InvalidSender", "Uncategorized"),
    ("550-5.7.26 Unauthenticated email from from.example is not accepted due to\n550 5.7.26 domain's DMARC policy.", "AuthenticationFailed", None),
    ("550 5.7.515 Access denied, sending domain FROM.EXAMPLE does not meet the required authentication level.", "AuthenticationFailed", "Uncategorized"),
    ("550 5.7.23 SPF validation failed", "AuthenticationFailed", None),
    ("554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes", "AuthenticationFailed", None),
    ("550 5.7.25 [10.0.0.1] The IP address sending this message does not have a PTR record setup", "AuthenticationFailed", None),
    ("550 5.7.1 Service unavailable, Client host [10.0.0.1] blocked using Spamhaus", "SpamBlock", "PolicyRelated"),
    ("550 5.7.1 Unfortunately, messages from [10.0.0.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).", "SpamBlock", "PolicyRelated"),
    ("553 5.7.1 [BL21] Connections will not be accepted from 10.0.0.1, because the ip is in Spamhaus's list", "SpamBlock", "PolicyRelated"),
    ("550 5.7.606 Access denied, banned sending IP [10.0.0.1]", "SpamBlock", "Uncategorized"),
    ("554 Your access to this mail system has been rejected due to the sending MTA's poor reputation.", "SpamBlock", "Uncategorized"),
    ("421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address.", "SpamRelated", None),
    ("550-5.7.1 [10.0.0.1] Our system has detected that this message is\n550 5.7.1 likely unsolicited mail.", "SpamContent", "PolicyRelated"),
    ("554 5.7.1 Message rejected due to spam content: it is considered spam", "SpamContent", "PolicyRelated"),
    ("554 5.7.1 The message contains a virus: Eicar-Test-Signature", "VirusRelated", "PolicyRelated"),
    ("552 5.7.0 This message was blocked because its attachment type is not allowed", "ProhibitedAttachment", "PolicyRelated"),
    ("554 5.7.1 <u@a.example>: Relay access denied", "RelayingIssues", "PolicyRelated"),
    ("452 4.5.3 Too many recipients", "TooManyRecipients", None),
    ("421 Too many concurrent SMTP connections; please try again later.", "BadConnection", "Uncategorized"),
    ("421 4.7.0 [TSS04] Messages from 10.0.0.1 temporarily deferred due to unexpected volume or user complaints", "PolicyRelated", None),
    ("451 4.4.1 no answer", "NoAnswerFromHost", None),
    ("554 5.4.6 mail loop detected", "RoutingErrors", None),
    ("554 5.4.7 delivery time expired", "MessageExpired", None),
    ("503 5.5.1 Bad sequence of commands", "ProtocolErrors", None),
    ("554 5.6.0 Message content rejected", "ContentRelated", None),
    ("550 5.3.5 Server is configured wrongly", "BadConfiguration", None),
    ("571 Delivery not authorized, message refused", "Uncategorized", None),
]
# in front of BASE: the same policy with the rules that are tested
RULES = BASE.replace("kumo.start_esmtp_listener(l)", "kumo.start_esmtp_listener(l)\n  kumo.configure_bounce_classifier { files = FILES }")


def classes(kumod, files):
    sink = Sink(lambda verb, line: RESPONSES[int(line.split("<u")[1].split("@")[0])][0] if verb == "RCPT" else None)
    try:
        k = kumod("local FILES = { %s }\nQUEUE = { retry_interval = '5m' }\n" % ", ".join("os.getenv 'TEST_SHARE' .. '/%s'" % f for f in files) + RULES, sink_port=sink.port)
        c = k.client()
        c.cmd("EHLO x.example")
        for i in range(len(RESPONSES)):
            assert c.mail("u%d@a.example" % i).startswith("250")

        def seen():
            return {r["recipient"]: r for r in k.records() if r["type"] in ("Bounce", "TransientFailure")}
        assert wait_for(lambda: len(seen()) == len(RESPONSES), 40, 0.5), k.stderr()
        return [seen()["u%d@a.example" % i]["bounce_classification"] for i in range(len(RESPONSES))]
    finally:
        sink.close()


def differences(got, expected):
    return ["%s: %s, expected %s" % (r[0], g, e) for r, g, e in zip(RESPONSES, got, expected) if g != e]


def test_the_status_codes_alone(kumod):
    assert differences(classes(kumod, ["bounce_classifier/iana.toml"]), [alone or both for _, both, alone in RESPONSES]) == []


def test_the_texts_come_first(kumod):
    assert differences(classes(kumod, ["community/bounces.toml", "bounce_classifier/iana.toml"]), [both for _, both, _ in RESPONSES]) == []

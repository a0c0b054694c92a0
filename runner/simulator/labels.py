"""Finding the labels that a prompt offers, and picking one by a small lexical rule.

No understanding is claimed: words of the text are compared with each label's own word and with a table of hints. It is
right often enough for accuracy to mean something, and it is the same every time.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

LISTS = (
    re.compile(
        r"\b(?:labels?|classes|categories|topics|sections|options|choices|one of(?: the following| these)?(?: \w+)?)"
        r"\s*(?:are|is)?\s*:[ \t]*(?P<labels>[^\n]+)",
        re.IGNORECASE,
    ),
    # "Which team should see this: billing, shipping or technical?"
    re.compile(r"\b(?P<labels>[\w-]+(?:, [\w-]+)*,? or [\w-]+)\s*\?", re.IGNORECASE),
)
"""Where a prompt lists its labels; the first pattern that finds two or more is taken."""

SEPARATOR = re.compile(r"\s*[,;|/]\s*(?:or\s+|and\s+)?|\s+or\s+", re.IGNORECASE)
WORD = re.compile(r"[a-z]+")

LONGEST_LABEL = 40
READ = 6_000
"""Characters of a text that are looked at: the rule stays cheap for long documents."""
OWN_WORD = 3
"""Weight of a label's own word against one hint."""
SHORTEST_STEM = 4
"""Letters from which on a label's own word is also found at the beginning of longer ones."""

HINTS: Mapping[str, frozenset[str]] = {
    label: frozenset(words.split())
    for label, words in {
        "admin": "administration administrator administrators backup backups boot cluster configuration cpu daemon"
        " deployment disk disks filesystem filesystems hardware installation kernel log logs machines monitor"
        " monitoring partition partitions password process processes root sandbox scheduler shell storage sudo"
        " systemd utilities vm",
        "database": "backend data databases db dbms index key mongodb mysql mariadb oracle postgres postgresql queries"
        " query rdbms records redis relational replication row schema sql sqlite store stored table tables transaction",
        "editors": "buffer buffers edit editing editor emacs gui highlighting ide latex markdown mode notepad outline"
        " spell syntax text vi vim word writing document documents tex",
        "games": "adventure arcade ball board card chess clone enemies enemy fantasy fight game gameplay engine level"
        " levels maze multiplayer play player players puzzle race score shooter simulation strategy world",
        "graphics": "animation camera color colors colour draw drawing exif geometry icon image images jpeg modeler"
        " opengl paint photo photos picture pictures pixel png raw render renderer rendering scan scanner svg"
        " thumbnail vector viewer 3d",
        "mail": "bayesian delivery dkim email emails exim filter imap inbox lists mailbox mailboxes maildir mailing"
        " mails message messages milter mta mutt notmuch pop postfix sendmail sieve smtp spam spamassassin",
        "math": "algebra algebraic arithmetic calculator computation computations computer constraint equation"
        " equations finite fraction function functions group integer integers linear logic mathematical mathematics"
        " matrices matrix numeric numerical optimization plot plotting polynomial polynomials prime proof prover sat"
        " solver statistical statistics symbolic theorem",
        "net": "address bittorrent bluetooth chat client connection connections dhcp dns firewall ftp host hosts"
        " instant interface ip ipv irc jabber lan messaging network networking networks nfs packet packets peer ping"
        " port protocol proxy remote router routing scanner snmp ssh ssl tcp telnet tls traffic tunnel udp vpn wifi"
        " wireless xmpp",
        "science": "alignment analysis astronomical astronomy atomic biology calculations cell chemical chemistry"
        " climate crystal data dna earth electron experimental gene genes genetic genome genomic geographic gis"
        " laboratory medical microscopy models molecular molecules neuroimaging observations physics protein proteins"
        " quantum reads research sciences scientific sequence sequences sequencing simulation simulations species"
        " spectra survey telescope tree trees",
        "sound": "ableton alsa amplifier audio cd effects flac instrument instruments jack ladspa midi mixer mp3 music"
        " musical ogg pitch player playback plugin plugins pulseaudio recorder recording rhythm song songs sounds"
        " speech synth synthesis synthesizer synthesizers track tracks tuner voice volume waveform",
        "video": "avi camera capture codec codecs decoder dvb dvd ffmpeg film frame frames gstreamer hdtv media movie"
        " movies mpeg mpv player playback recording screen stream streaming subtitle subtitles television tv videos vlc"
        " webcam youtube",
        "web": "ajax apache blog bookmark browse browser browsers cgi chromium cms css engine firefox forum html http"
        " httpd https javascript link links mozilla nginx page pages php rss search site sites template url urls"
        " webapp webpage webserver website websites wiki www",
        "positive": "amazing beautiful best delight delightful easy enjoy enjoyed excellent fantastic fast favorite"
        " friendly fun glad good great happy helpful impressed like lovely loved love nice outstanding perfect pleased"
        " recommend recommended reliable solid superb thanks wonderful works",
        "negative": "awful bad boring broke broken cheap crash crashed damaged defective dented disappointed"
        " disappointing disappointment fail failed failure hate horrible late mediocre missing never noisy poor refund"
        " return returned rude slow stopped terrible ugly unhappy unusable useless waste worst wrong",
        "neutral": "adequate average expected fair fine medium normal okay ordinary regular standard usual",
        "mixed": "although and but despite however though while yet",
    }.items()
}
"""Words that speak for a label."""


def offered(prompt: str) -> tuple[str, ...]:
    """The labels that a prompt lists, in its order; empty where it lists none."""
    return next(lists(prompt[:READ]), ())


def lists(prompt: str) -> Iterator[tuple[str, ...]]:
    """Each list of labels in a prompt."""
    for pattern in LISTS:
        for found in pattern.finditer(prompt):
            labels = tuple(label for piece in SEPARATOR.split(found["labels"]) if (label := _clean(piece)))
            if len(labels) > 1 and all(len(label) <= LONGEST_LABEL for label in labels):
                yield tuple(dict.fromkeys(labels))


def _clean(piece: str) -> str:
    return piece.strip(" \t\"'`[](){}.?!*")


def without_lists(prompt: str) -> str:
    """The prompt without the lines that list labels: what the labels are to be judged by."""
    return LISTS[0].sub(" ", prompt[-READ:])


def pick(labels: Sequence[str], text: str, tie: float) -> str:
    """The label with the highest score; `tie`, from 0 to 1, decides between equals."""
    words = Words(text)
    scores = [score(label, words) for label in labels]
    best = [label for label, points in zip(labels, scores, strict=True) if points == max(scores)]
    return best[int(tie * len(best))]


class Words:
    """How often each word is in a text."""

    def __init__(self, text: str) -> None:
        self.counts = Counter(WORD.findall(text.lower()))
        self._begun: dict[str, list[str]] = {}
        for word in self.counts:
            self._begun.setdefault(word[:SHORTEST_STEM], []).append(word)

    def begun(self, stem: str) -> int:
        """How many words begin with a stem; a short one must be the whole word."""
        if len(stem) < SHORTEST_STEM:
            return self.counts.get(stem, 0)
        words = self._begun.get(stem[:SHORTEST_STEM], ())
        return sum(self.counts[word] for word in words if word.startswith(stem))


def score(label: str, words: Words) -> int:
    """How much a text with these words speaks for a label. A word counts twice at most: lists repeat themselves."""
    stems, hints = _known(label)
    points = OWN_WORD * sum([min(2, words.begun(stem)) for stem in stems])
    return points + sum([min(2, words.counts[hint]) for hint in hints & words.counts.keys()])


@functools.lru_cache(maxsize=1_000)
def _known(label: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """The stems of a label's own words, and its hints."""
    words = WORD.findall(label.lower())
    stems = tuple(word.removesuffix("s") if len(word) > 3 else word for word in words)
    return stems, HINTS.get(label.lower(), frozenset())


def other(labels: Sequence[str], right: str, which: float) -> str:
    """A label that is not the right one, for a model that errs."""
    rest = [label for label in labels if label != right]
    return rest[int(which * len(rest))] if rest else right

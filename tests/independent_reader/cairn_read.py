#!/usr/bin/env python3
"""Reads Cairn logs, from format.md alone: python3 cairn_read.py DIR...

Prints a JSON line for each record that recovery would keep, one for each large value among them and for each mark,
then one with the verdict. Never writes.
Behind damage in a sealed segment it goes on with the next segment. What is under a key takes the package
`cryptography`, and the keys in the environment: CAIRN_READ_KEYS="NUMBER:HEX ..."; what is packed by Zstandard the package
`zstandard`. Else the log is unsupported."""
import json
import os
import pathlib
import re
import struct
import sys
import unicodedata
from collections import namedtuple

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
except ImportError:
    AESGCMSIV = None
try:
    import zstandard
except ImportError:
    zstandard = None

HEADER_BYTES, BATCH_BYTES, FOOTER_BYTES, MANIFEST_BYTES, SEALED_BYTES = 128, 24, 80, 144, 64
HEAD, BATCH, RECORD, FOOTER = 0x48454144, 0x42544348, 0x52435244, 0x464F4F54
MANIFEST, ENTRIES, PRODUCERS, MARKS = 0x4D414E49, 0x4D454E54, 0x50524F44, 0x4D41524B
LEDGER_BYTES, PRODUCER_BYTES, APPEND_BYTES, CURSOR_EPOCH = 72, 32, 24, 0xFFFFFFFF
ANNEX, PACKED, NUMBER_MAX, PIECE_BYTES = 0x414E4558, 0x5041434B, 1 << 62, 32
PACKED_FEATURE, PACKED_BYTES, RAW_BYTES_MAX = 1 << 2, 40, 1 << 20
SEALED_FEATURE, SEALED_HEAD_BYTES, FACTS_BYTES, STATED_BYTES = 1 << 3, 32, 28, 28
MARKS_FEATURE, MARKS_BYTES_MAX, MARK_VALUE_BYTES_MAX = 1 << 4, 65536, 4096
FAR_FEATURE, FAR = 1 << 5, 1 << 2
PACKED_APPENDS_FEATURE = 1 << 6
LIVE, COPY = 1, 2
KEYS = {int(number): bytes.fromhex(key) for number, key in (
    pair.split(":") for pair in os.environ.get("CAIRN_READ_KEYS", "").split())}


class Defect(Exception):
    """Bytes that are not what they should be, or a file: then with the segment's id and 0."""


class Unsupported(Exception):
    """What a newer program wrote: judged before anything else."""


TABLE = list(range(256))
for _ in range(8):
    TABLE = [value >> 1 ^ (0x82F63B78 if value & 1 else 0) for value in TABLE]
# Two bytes in one step: half the work of a large file.
PAIRS = [TABLE[(TABLE[v & 0xFF] ^ v >> 8) & 0xFF] ^ TABLE[v & 0xFF] >> 8 for v in range(1 << 16)]


def crc(seed, data):
    """CRC-32C of data, continued from seed."""
    register, pairs = seed ^ 0xFFFFFFFF, PAIRS
    for pair in struct.unpack("<%dH" % (len(data) // 2), data[:len(data) & ~1]):
        register = pairs[(register ^ pair) & 0xFFFF] ^ register >> 16
    if len(data) & 1:
        register = TABLE[(register ^ data[-1]) & 0xFF] ^ register >> 8
    return register ^ 0xFFFFFFFF


assert crc(0, b"123456789") == 0xE3069283


def seed(kind, salt, place):
    return (salt ^ place) & 0xFFFFFFFF ^ (salt ^ place) >> 32 ^ kind


def zeros(data):
    return data.count(0) == len(data)


Header = namedtuple(
    "Header", "origin log_id id base_seq salt base_time pred durable_seq recycled packed_appends")
Pred = namedtuple("Pred", "id salt frames_end next_seq checksum")
Batch = namedtuple("Batch", "body_bytes first_seq durable_seq time count sparse packed")
Sealed = namedtuple("Sealed", "id salt base_seq next_seq frames_end max_time records tombstones keyed flags")
Log = namedtuple("Log", "log_id head_seq next_id durable_seq sealed tail spare marks packed_appends")
Named = namedtuple("Named", "id salt base_seq recycled")  # base_seq is None for a spare


def preamble(data, size, magic, constant, what, known=0):
    if len(data) < size or data[:8] != magic:
        raise Defect("%s: too short, or none at all" % what)
    if crc(constant, data[:size - 4]) != int.from_bytes(data[size - 4:size], "little"):
        raise Defect("%s: checksum" % what)
    version, required = struct.unpack_from("<H2xI", data, 8)
    if version != 1 or required & ~known:
        raise Unsupported("%s: version %d, required features %#x" % (what, version, required))


def header(data):
    """The header of a segment file, or the reason why there is none."""
    try:
        known = PACKED_FEATURE | SEALED_FEATURE | PACKED_APPENDS_FEATURE
        preamble(data, HEADER_BYTES, b"CAIRNSEG", HEAD, "segment header", known)
    except Defect as why:
        return None, why
    origin, log_id, number, base_seq, salt, time = struct.unpack_from("<I16sQQQq", data, 20)
    *pred, durable_seq, checksum = struct.unpack_from("<5QI", data, 72)
    head = Header(origin, log_id, number, base_seq, salt, time, Pred(*pred, checksum), durable_seq,
                  data[10] & 1, bool(data[12] & PACKED_APPENDS_FEATURE))
    valid = origin in (LIVE, COPY) and number > 0
    return (head, None) if valid else (None, Defect("segment header: malformed"))


def marks(data):
    """The marks behind the sealed entries of a manifest, by their names."""
    size = int.from_bytes(data[4:8], "little")
    if len(data) != 8 + size or not 0 < size <= MARKS_BYTES_MAX - 8 or crc(MARKS, data[4:]) != int.from_bytes(data[:4], "little"):
        raise Defect("manifest: marks")
    found, data = {}, data[8:]
    while data:
        size, name_bytes, value_bytes = struct.unpack_from("<IHH", data.ljust(8, b"\0"))
        name, last = data[8:8 + name_bytes], max(found, default=b"")
        if not 8 + name_bytes + value_bytes <= size <= len(data) or value_bytes > MARK_VALUE_BYTES_MAX:
            raise Defect("manifest: size of a mark")
        if not 0 < name_bytes <= 255 or name <= last or not unicode(name):
            raise Defect("manifest: name of a mark")
        found[name], data = data[8 + name_bytes:8 + name_bytes + value_bytes], data[size:]
    return found


def unicode(name):
    """Whether it is UTF-8 without control characters."""
    try:
        return not any(unicodedata.category(char) == "Cc" for char in name.decode())
    except UnicodeDecodeError:
        return False


def manifest(data):
    preamble(data, MANIFEST_BYTES, b"CAIRNMAN", MANIFEST, "manifest", MARKS_FEATURE | FAR_FEATURE)
    log_id, _, head_seq, next_id, durable_seq = struct.unpack_from("<16s4Q", data, 24)
    count, checksum, spare_id, spare_salt, *tail = struct.unpack_from("<II5Q", data, 80)
    entries, size = data[MANIFEST_BYTES:], struct.unpack_from("<H", data, 10)[0] or SEALED_BYTES
    entries, behind, has_marks = entries[:count * size], entries[count * size:], data[12] & MARKS_FEATURE
    if size < SEALED_BYTES or len(entries) != count * size or crc(ENTRIES, entries) != checksum or behind and not has_marks:
        raise Defect("manifest: list of sealed segments")
    sealed = [Sealed(*struct.unpack_from("<5QqIIII", entries, number * size))
              for number in range(count)]
    if any(entry.flags & FAR for entry in sealed) != bool(data[12] & FAR_FEATURE):
        raise Defect("manifest: segments that live elsewhere")
    spare = Named(spare_id, spare_salt, None, data[20] >> 2 & 1) if spare_id else None
    ids = [entry.id for entry in sealed] + [tail[0]] + ([spare_id] if spare else [])
    if len(set(ids)) != len(ids) or not all(0 < number < next_id for number in ids):
        raise Defect("manifest: segment id")
    seqs = [seq for entry in sealed for seq in (entry.base_seq, entry.next_seq)] + [tail[2]]
    ends = [entry.frames_end for entry in sealed]
    if max(seqs + [head_seq, next_id, durable_seq]) > NUMBER_MAX:
        raise Defect("manifest: a number is too large")
    if seqs != sorted(seqs) or not all(HEADER_BYTES <= end <= 1 << 33 for end in ends):
        raise Defect("manifest: order of segments")
    return Log(log_id, head_seq, next_id, durable_seq, sealed, Named(*tail, None), spare,
               marks(behind) if has_marks else {}, bool(data[16] & PACKED_APPENDS_FEATURE))


def batch_header(data, offset, head):
    """Conditions 1 to 4 of a batch; the bytes are there."""
    checksum, body_bytes, first, distance, time, shape = struct.unpack_from("<IIIIiI", data, offset)
    if crc(seed(BATCH, head.salt, offset), data[offset + 4:offset + BATCH_BYTES]) != checksum:
        raise Defect("batch header: checksum")
    count, sparse, watermark = shape & 0xFFFFFF, shape >> 24 & 1, shape >> 25 & 1
    first, durable_seq = first + head.base_seq, first + head.base_seq - distance
    packed = shape >> 26 & 1
    if shape >> 27 == 0b10101:
        raise Unsupported("a batch whose header goes on")
    if (shape >> 27 != 0b10100 or durable_seq < 0 or first + count > NUMBER_MAX
            or watermark != (count == 0) or (count == 0 and (0 < body_bytes < 8 or sparse or packed))
            or body_bytes < (PACKED_BYTES if packed else count * (12 if sparse else 8))):
        raise Defect("batch header: malformed")
    return Batch(body_bytes, first, durable_seq, head.base_time + time, count, sparse, packed)


def record(body, at, batch, salt, expected):
    """The record at a place in a batch's body, and where the next one starts."""
    def take(size):
        nonlocal at
        at += size
        if at > len(body):
            raise Defect("record: longer than its batch")
        return at - size

    start = take(8)
    checksum, meta = struct.unpack_from("<II", body, start)
    has = [meta >> bit & 1 for bit in range(32)]
    seq = batch.first_seq + struct.unpack_from("<I", body, take(4))[0] if batch.sparse else expected
    key_bytes = struct.unpack_from("<H", body, take(2))[0] if has[27] else 0
    time = struct.unpack_from("<q", body, take(8))[0] if has[29] else batch.time
    producer = list(struct.unpack_from("<QIQ", body, take(20))) if has[30] else None
    key_at = take(key_bytes)
    value_at = take(meta & 0x7FFFFFF)
    if crc(seed(RECORD, salt, seq), body[start + 4:at]) != checksum:
        raise Defect("record %d: checksum" % seq)
    if seq < expected or not has[31] or (has[28] and (not has[27] or value_at != at)):
        raise Defect("record %d: malformed" % seq)
    key = body[key_at:value_at].hex() if has[27] else None
    value = None if has[28] else body[value_at:at].hex()
    return {"seq": seq, "ts": time, "key": key, "value": value, "producer": producer}, at


def unseal(body, offset, batch, head):
    """The records of a sealed batch, back to back, and the time of those that have none of their own."""
    checksum, codec, cipher, flags, appends, key_id, nonce, raw_bytes = struct.unpack_from("<I4BQ12sI", body)
    if crc(seed(PACKED, head.salt, offset), body[4:]) != checksum:
        raise Defect("sealed batch: checksum")
    if cipher != 1 or flags > 1:
        raise Unsupported("sealed batch: cipher %d, flags %d" % (cipher, flags))
    text_at, text_end = SEALED_HEAD_BYTES + FACTS_BYTES * flags, len(body) - STATED_BYTES * appends
    last, tombstones, keyed, first_time, last_time = struct.unpack_from("<3I2q", body, SEALED_HEAD_BYTES) \
        if flags else (batch.count - 1, 0, 0, 0, 0)
    if (text_end - 24 < text_at or first_time > last_time or not tombstones <= keyed <= batch.count
            or last < batch.count - 1 or last > batch.count - 1 and not batch.sparse
            or not codec and raw_bytes != text_end - 24 - text_at):
        raise Defect("sealed batch: malformed")
    if key_id not in KEYS or AESGCMSIV is None:
        raise Unsupported("sealed batch: key %d, or no cipher" % key_id)
    clear = struct.pack("<16sQII", head.log_id, batch.first_seq, batch.count, batch.sparse) \
        + body[4:text_at] + body[text_end:]
    try:
        text = AESGCMSIV(KEYS[key_id]).decrypt(nonce, body[text_at:text_end], clear)
    except InvalidTag:
        raise Defect("sealed batch: tampered") from None
    time, text = int.from_bytes(text[-8:], "little", signed=True), text[:-8]
    return by_columns(text, batch, codec, raw_bytes) if codec else text, time


def unpack(body, offset, batch, head):
    """The records of a packed batch, back to back."""
    checksum, codec, *later, appends, raw_bytes, last, tombstones, keyed, first_time, last_time = \
        struct.unpack_from("<I4B4I2q", body)
    if crc(seed(PACKED, head.salt, offset), body[4:]) != checksum:
        raise Defect("packed batch: checksum")
    if any(later):
        raise Unsupported("packed batch: stored in a later way")
    least, most = batch.count * (12 if batch.sparse else 8), RAW_BYTES_MAX if batch.count > 1 else 1 << 28
    end, next_delta = len(body) - STATED_BYTES * appends, 0
    for at in range(max(end, PACKED_BYTES), len(body), STATED_BYTES):
        first, count = struct.unpack_from("<2I", body, at + 20)
        if first < next_delta or not 0 < count <= last + 1 - first:
            raise Defect("packed batch: stated append")
        next_delta = first + count
    if (end < PACKED_BYTES or not least <= raw_bytes <= most or first_time > last_time or not tombstones <= keyed <= batch.count
            or last < batch.count - 1 or last > batch.count - 1 and not batch.sparse):
        raise Defect("packed batch: malformed")
    return by_columns(body[PACKED_BYTES:end], batch, codec, raw_bytes)


def by_columns(packed, batch, codec, raw_bytes):
    """What a codec made of the columns of records, back to back again."""
    codecs = {1: lz4, 2: zstd} if zstandard else {1: lz4}
    if codec not in codecs:
        raise Unsupported("packed batch: codec %d" % codec)
    columns, at, records, key_at = codecs[codec](packed, raw_bytes), 8 * batch.count, b"", 4 * batch.sparse
    if len(columns) != raw_bytes:
        raise Defect("packed batch: length")
    for number in range(batch.count):
        word = columns[4 * (batch.count + number):][:4]
        meta = int.from_bytes(word, "little")
        size = key_at + 8 * (meta >> 29 & 1) + 20 * (meta >> 30 & 1) + (meta & 0x7FFFFFF)
        if meta >> 27 & 1:
            size += 2 + int.from_bytes(columns[at + key_at:at + key_at + 2], "little")
        records += columns[4 * number:4 * number + 4] + word + columns[at:at + size]
        at += size
    if len(records) != raw_bytes:
        raise Defect("packed batch: columns")
    return records


def zstd(frame, most):
    """What a Zstandard frame comes to, and not much more than so many bytes of it."""
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(frame, read_across_frames=False)
        return reader.read(most + 1)
    except zstandard.ZstdError:
        raise Defect("packed batch: no Zstandard frame") from None


def lz4(block, most):
    """What an LZ4 block comes to, and not much more than so many bytes of it."""
    out, at = bytearray(), 0

    def length(start):
        nonlocal at
        while start >= 15:
            start, at = start + block[at], at + 1
            if block[at - 1] != 255:
                break
        return start

    try:
        while at < len(block) and len(out) <= most:
            token, at = block[at], at + 1
            literals = length(token >> 4)
            out += block[at:at + literals]
            at += literals
            if at < len(block):
                back, at = block[at] | block[at + 1] << 8, at + 2
                for _ in range(length(token & 15) + 4):
                    out.append(out[-back])
    except IndexError:
        raise Defect("packed batch: no LZ4 block") from None
    return bytes(out)


def ledger(data, log_id):
    """The seq below which the ledger of producers accounts for every append, all of it durable."""
    if len(data) < LEDGER_BYTES or data[:8] != b"CAIRNPRO":
        raise Defect("producers: no magic")
    version, *words, required, of_log, as_of, end, _, producers, appends, _, checksum = \
        struct.unpack_from("<HBBI16sQQQIIII", data, 8)
    lists, sizes = data[LEDGER_BYTES:], (8 * words[0] or PRODUCER_BYTES, 8 * words[1] or APPEND_BYTES)
    if crc(crc(PRODUCERS, data[:LEDGER_BYTES - 4]), lists) != checksum:
        raise Defect("producers: checksum")
    if version != 1 or required:
        raise Unsupported("producers: a later version")
    if sizes < (PRODUCER_BYTES, APPEND_BYTES) or len(lists) != producers * sizes[0] + appends * sizes[1]:
        raise Defect("producers: length of the lists")
    at, last, wrong = producers * sizes[0], None, of_log != log_id or end > as_of
    for number in range(producers):
        one, epoch, count, forgotten, flags = struct.unpack_from("<QIIQI", lists, number * sizes[0])
        key, before, floor = (epoch == CURSOR_EPOCH, one), forgotten if flags & 1 else -1, 0
        wrong |= last is not None and key <= last or at + count * sizes[1] > len(lists)
        last = key
        for at in range(at, at + count * sizes[1], sizes[1]) if not wrong else ():
            named, first, records = struct.unpack_from("<QQI", lists, at)
            wrong |= records == 0 or first < floor or first + records > as_of
            wrong |= named <= before and epoch != CURSOR_EPOCH
            before, floor = named, first + records
        at += sizes[1] if count else 0
    if wrong or at != len(lists):
        raise Defect("producers: they contradict themselves")
    return as_of


def batch_at(data, offset, head, expected, end, gaps):
    """A whole batch, its end and the seq expected next; or a Defect."""
    if offset + BATCH_BYTES > end:
        raise Defect("batch header: too few bytes")
    batch = batch_header(data, offset, head)
    # What is under a key may stand anywhere; what is only packed where the header says so or, as gaps, in a sealed
    # segment alone.
    under_key = batch.packed and data[offset + BATCH_BYTES + 5:][:1] not in (b"", b"\0")
    gap = batch.first_seq != expected or batch.sparse or batch.packed and not under_key and not head.packed_appends
    if batch.first_seq < expected or (gap and not gaps):
        raise Defect("batch: seq %d where %d was expected" % (batch.first_seq, expected))
    batch_end = offset + BATCH_BYTES + batch.body_bytes
    if batch_end > end:
        raise Defect("batch: longer than its segment")
    if batch.packed and not gaps and batch.body_bytes < 4 * batch.count:
        raise Defect("batch: more packed records than there is room for")
    body, at, expected, records = data[offset + BATCH_BYTES:batch_end], 0, batch.first_seq, []
    salt = head.salt
    if under_key:
        (body, time), salt = unseal(body, offset, batch, head), 0
        batch = batch._replace(time=time)
    elif batch.packed:
        body, salt = unpack(body, offset, batch, head), 0
    for _ in range(batch.count):
        one, at = record(body, at, batch, salt, expected)
        records.append(one)
        expected = one["seq"] + 1
    if not batch.count and body:
        if crc(seed(ANNEX, head.salt, offset), body[4:]) != int.from_bytes(body[:4], "little"):
            raise Defect("annex: checksum")
    elif at != len(body):
        raise Defect("batch: longer than its records")
    return records, batch_end, expected


def clear_end(x):
    """Up to where zeros follow frames that end at x in a recycled file."""
    return (x + BATCH_BYTES + 4095) // 4096 * 4096


def in_order(data, x, head, expected):
    """Whether the frames end here: only zeros follow, or a footer that says so."""
    foot = data[x:x + FOOTER_BYTES]
    if (foot[:8] == b"CAIRNFTR" and len(foot) == FOOTER_BYTES
            and crc(seed(FOOTER, head.salt, x), foot[:-4]) == int.from_bytes(foot[-4:], "little")
            and struct.unpack_from("<Q16xQ", foot, 32) == (expected, x)):
        return True
    return blank(data, x, head, expected, 0) if head.recycled else zeros(data[x:])


def blank(data, x, head, expected, before):
    """Whether nothing was written from x on to a recycled file, though old bytes may follow."""
    return zeros(data[x:clear_end(x)]) and not any(own(data, x, head, expected, before))


def own(data, x, head, expected, before):
    """The batch headers from x on in a recycled file that can be there."""
    least = 4 if head.packed_appends else 8
    return (batch for offset, batch in headers(data, x, head)
            if expected <= batch.first_seq <= expected + (before + offset - x) // least)


def headers(data, start, head):
    """Each place from start on where a batch header verifies, and the header."""
    # The last byte of a header: the pattern 1010, extended, packed, watermark and sparse.
    for match in re.compile(rb"[\xa0-\xa4\xa8-\xab]").finditer(data, start + BATCH_BYTES - 1):
        offset = match.start() - BATCH_BYTES + 1
        try:
            yield offset, batch_header(data, offset, head)
        except Defect:
            pass
        except Unsupported:
            if not head.recycled:
                raise


def witness(data, start, head, expected, before=0):
    """The highest durable watermark that any batch header from start on states."""
    found = own(data, start, head, expected, before) if head.recycled else (
        batch for _, batch in headers(data, start, head))
    return max((batch.durable_seq for batch in found), default=0)


class Reader:
    def __init__(self, directory):
        self.directory, self.log, self.ledger_seq = directory, None, 0
        self.verdict, self.next_seq, self.defects = "clean", 0, []
        self.values, self.large = {}, []  # By the seq of their first pieces, so far; those that are whole.

    def defect(self, verdict, segment, offset, what):
        self.verdict = "damaged" if self.verdict == "damaged" else verdict
        self.defects.append({"segment": segment, "offset": offset, "what": str(what)})

    def load(self, name):
        """A named segment file, and its header or the reason why there is none."""
        far = isinstance(name, Sealed) and name.flags & FAR
        # Where a far segment is, the log does not say. For this reader it is in `far`, beside the log.
        directory = self.directory.parent / "far" if far else self.directory
        try:
            data = (directory / ("%020d.seg" % name.id)).read_bytes()
        except FileNotFoundError:
            raise Defect(name.id, 0, "the segment lives elsewhere" if far else "the file is missing") from None
        head, why = header(data)
        base_seq = head.base_seq if head and name.base_seq is not None else None
        if head and (head.log_id, head.id, head.salt, base_seq) != (self.log.log_id, *name[:3]):
            raise Defect(name.id, 0, "segment header: another segment's")
        return data, head, why

    def walk(self, data, head, end, gaps=False):
        """Prints every batch from the header on. Where that stops, what is expected there, why."""
        offset, expected = HEADER_BYTES, head.base_seq
        try:
            while offset < end:
                records, offset, expected = batch_at(data, offset, head, expected, end, gaps)
                for one in records:
                    if one["seq"] >= self.log.head_seq:
                        print(json.dumps(one, separators=(",", ":")))
                        self.piece(one["seq"], bytes.fromhex(one["value"] or ""))
        except Defect as why:
            return offset, expected, why
        return offset, expected, None

    def piece(self, seq, value):
        """Puts large values together."""
        if len(value) < PIECE_BYTES or value[:8] != b"CAIRNLRG":
            return
        first, offset, end = struct.unpack_from("<QQQ", value, 8)
        data = value[PIECE_BYTES:]
        if max(first, offset, end) > NUMBER_MAX or not first and offset or end and end - 1 != offset + len(data):
            return
        so_far = self.values.setdefault(first - 1 if first else seq, b"" if not first else None)
        if so_far is not None and len(so_far) == offset:
            self.values[first - 1 if first else seq] = so_far + data
            if end:
                self.large.append({"large": seq, "value": (so_far + data).hex()})

    def sealed(self, entry):
        self.next_seq = entry.next_seq
        data, head, why = self.load(entry)
        offset = 0
        if head:
            end, gaps = min(entry.frames_end, len(data)), head.origin == COPY
            offset, expected, why = self.walk(data, head, end, gaps)
            exact = expected == entry.next_seq or gaps and expected < entry.next_seq
            if not why and not (exact and offset == entry.frames_end):
                why = "the frames end here, at seq %d" % expected
        if why:
            self.defect("damaged", entry.id, offset, why)

    def chain(self):
        """The tail and, if it was begun, the spare: where they stop, and what that means."""
        tail, spare = self.log.tail, self.log.spare
        data, head, why = self.load(tail)
        then, begun, broken = self.load(spare) if spare else (b"", None, None)
        if not head:
            raise Defect(tail.id, 0, str(why))
        x, self.next_seq, why = self.walk(data, head, len(data))
        order = in_order(data, x, head, self.next_seq)
        attested = [self.log.durable_seq, self.ledger_seq]
        if begun:
            if begun.base_seq < self.next_seq:
                raise Defect(spare.id, 0, "it begins before the end of the tail")
            attested.append(begun.durable_seq)
            found = Pred(tail.id, tail.salt, x, self.next_seq, crc(0, data[:x]))
            if (begun.pred, begun.base_seq) == (found, self.next_seq):
                data, head = then, begun
                x, self.next_seq, why = self.walk(data, head, len(data))
                order = in_order(data, x, head, self.next_seq)
            else:
                attested.append(witness(then, HEADER_BYTES, begun, begun.base_seq))
                order, why = False, why or "the spare follows %d" % begun.pred.frames_end
        elif spare:
            its = head._replace(salt=spare.salt, base_seq=self.next_seq, recycled=spare.recycled,
                                packed_appends=self.log.packed_appends)
            end = self.next_seq, len(data) - x
            if not (blank(then, 0, its, *end) if spare.recycled else zeros(then)):
                attested.append(witness(then, 0, its, *end))
                order, why = False, why or "spare: %s" % broken
        attested.append(witness(data, x, head, self.next_seq))
        if max(attested) > self.next_seq:
            what = "%s; seqs below %d were durable" % (why or "the end", max(attested))
            self.defect("damaged", head.id, x, what)
        elif not order:
            self.defect("torn", head.id, x, why)

    def unnamed(self):
        """Files that prove that the manifest is too old, or missing."""
        log = self.log
        known = {entry.id for entry in log.sealed + [log.tail, log.spare] if entry} if log else {}
        for path in sorted(self.directory.glob("[0-9]" * 20 + ".seg")):
            number = int(path.stem)
            data = b"" if number in known else path.read_bytes()
            head, _ = header(data)
            live = head and head.origin == LIVE
            if not log and (live or not zeros(data[HEADER_BYTES:])):
                self.defect("damaged", number, 0, "there is no manifest")
            elif live and number >= log.next_id and head[1:3] == (log.log_id, number):
                self.defect("damaged", number, 0, "the manifest is older than this segment")

    def read(self):
        try:
            self.log = manifest((self.directory / "MANIFEST").read_bytes())
            self.unnamed()
            stored = self.directory / "PRODUCERS"
            if stored.exists():
                try:
                    self.ledger_seq = ledger(stored.read_bytes(), self.log.log_id)
                except Defect as wrong:
                    self.defect("damaged", None, 0, wrong)
            for part in [*self.log.sealed, None]:
                try:
                    self.sealed(part) if part else self.chain()
                except Defect as wrong:
                    self.defect("damaged", *wrong.args)
        except FileNotFoundError:
            self.unnamed()
            if (self.directory / "PRODUCERS").exists():
                self.defect("damaged", None, 0, "there is no manifest")
        except Defect as why:
            self.defect("damaged", None, 0, why)
        except Unsupported as why:
            self.verdict = "unsupported"
            self.defects.append({"segment": None, "offset": 0, "what": str(why)})
        for value in self.large:
            print(json.dumps(value, separators=(",", ":")))
        for name, value in (self.log.marks.items() if self.log else []):
            print(json.dumps({"mark": name.decode(), "value": value.hex()}, separators=(",", ":")))
        last = {"verdict": self.verdict, "next_seq": self.next_seq, "defects": self.defects}
        print(json.dumps(last, separators=(",", ":")))


if __name__ == "__main__":
    for directory in sys.argv[1:] or sys.exit(__doc__):
        Reader(pathlib.Path(directory)).read()

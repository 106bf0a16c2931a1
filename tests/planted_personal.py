"""Texts with personal data whose places are known, and texts that only look like it. Numbers are made up."""

import random

from chanote.checks.personal.check_digits import (
    is_german_document,
    is_german_insurance_number,
    is_german_tax_id,
    is_iban,
    is_thai_id,
    luhn_sum,
)
from chanote.checks.personal.names import read_list

THAI_DIGITS = str.maketrans("0123456789", "๐๑๒๓๔๕๖๗๘๙")
WIDE_DIGITS = str.maketrans("0123456789", "０１２３４５６７８９")
FRAMES = (
    "ติดต่อได้ที่ {} ครับ", "ข้อมูล: {} (สำเนา)", "Please note {} for your files.", "Bitte notieren: {}.", "{}",
    "เลข {} นี้ใช้ยื่นคำขอ", "see “{}” below", "ผู้ร้องแจ้งว่า {} เป็นของตน",
)  # fmt: skip


def digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choice("0123456789") for _ in range(count))


def until(accept, make) -> str:
    while not accept(value := make()):
        pass
    return value


def thai_id(draw):
    number = until(is_thai_id, lambda: digits(draw, 13))
    parts = (number[:1], number[1:5], number[5:10], number[10:12], number[12:])
    return draw.choice((number, "-".join(parts), " ".join(parts), f"{number[:6]}\u200b{number[6:]}"))


def card(draw):
    number = until(
        lambda one: luhn_sum(one) % 10 == 0,
        lambda: draw.choice(("4", "51", "55", "2221")).ljust(4, "3") + digits(draw, 12),
    )
    fours = [number[place : place + 4] for place in range(0, 16, 4)]
    return draw.choice((number, "-".join(fours), " ".join(fours)))


def iban(draw):
    number = until(is_iban, lambda: f"DE{digits(draw, 2)}{digits(draw, 18)}")
    return draw.choice((number, " ".join(number[i : i + 4] for i in range(0, 22, 4)), number.lower()))


def phone(draw):
    tail = digits(draw, 8)
    return draw.choice(
        (
            f"08{tail}", f"08{tail[0]}-{tail[1:4]}-{tail[4:]}", f"+66 8{tail[0]} {tail[1:4]} {tail[4:]}",
            f"02-{tail[:3]}-{tail[3:7]}", f"+49 30 {tail[:4]} {tail[4:]}", f"0171/{tail[:7]}",
            f"030/{tail[:3]}4{tail[3:6]}", f"+1 (212) 555-{tail[:4]}",
        )
    )  # fmt: skip


def email(draw):
    name = "".join(draw.choice("abcdefghijk") for _ in range(6))
    return f"{name}.{digits(draw, 2)}@{draw.choice(('example.co.th', 'example.org', 'mail.example.de'))}"


def tax_id(draw):
    number = until(is_german_tax_id, lambda: draw.choice("123456789") + digits(draw, 10))
    return draw.choice((number, f"{number[:2]} {number[2:5]} {number[5:8]} {number[8:]}"))


def insurance_number(draw):
    def make():
        born = f"{draw.randrange(1, 29):02d}{draw.randrange(1, 13):02d}{draw.randrange(40, 99)}"
        return f"{draw.randrange(10, 90)}{born}{draw.choice('ABKMS')}{digits(draw, 3)}"

    return until(is_german_insurance_number, make)


def passport(draw):
    german = until(
        is_german_document,
        lambda: "C" + "".join(draw.choice("FGHJKLMNP0123456789") for _ in range(8)) + digits(draw, 1),
    )
    return draw.choice(
        (f"passport no. AA{digits(draw, 7)}", f"หนังสือเดินทางเลขที่ B{digits(draw, 7)}", f"Reisepass {german}")
    )


def account(draw):
    number = digits(draw, 10)
    return draw.choice(
        (f"เลขที่บัญชี {number}", f"{number[:3]}-{number[3]}-{number[4:9]}-{number[9]}", f"Kontonummer {number}")
    )


def name(draw):
    thai = draw.choice(sorted(one for one in read_list("thai") if len(one) >= 4))
    latin = draw.choice(sorted(read_list("latin")))
    return draw.choice((f"นาย{thai} ใจดี", f"นางสาว{thai} แสงทอง", f"{latin} Musterfrau", f"คุณ{thai}"))


MAKERS = {
    "national_id": thai_id, "card": card, "iban": iban, "phone": phone, "email": email, "tax_id": tax_id,
    "insurance_number": insurance_number, "passport": passport, "bank_account": account, "name": name,
}  # fmt: skip


def plant(count: int, seed: int) -> list[tuple[str, str, int, int]]:
    """Text, kind, and the place of what was planted, `count` of each kind, some in Thai or full-width digits."""
    draw = random.Random(seed)
    cases = []
    for kind, make in MAKERS.items():
        for _ in range(count):
            value = make(draw)
            if kind in ("national_id", "card", "phone"):
                value = value.translate(draw.choice((THAI_DIGITS, WIDE_DIGITS, {}, {})))
            before, after = draw.choice(FRAMES).split("{}")
            cases.append((before + value + after, kind, len(before), len(before) + len(value)))
    return cases


def look_alikes(count: int, seed: int) -> list[str]:
    """Numbers in ordinary text that name nobody: wrong check digits, sums, dates, sections, versions."""
    draw = random.Random(seed)

    def number(low: int, high: int) -> int:
        return draw.randrange(low, high)

    def no_card() -> str:
        return until(lambda one: luhn_sum(one) % 10 > 0, lambda: "4" + digits(draw, 15))

    def no_id() -> str:
        return until(lambda one: not is_thai_id(one) and luhn_sum(one) % 10, lambda: "1" + digits(draw, 12))

    makers = (
        lambda: f"มาตรา {number(1, 300)} วรรคสอง แห่งประมวลรัษฎากร พ.ศ. 24{number(70, 99)}",
        lambda: f"จำนวน {number(0, 10**6):,}.{digits(draw, 2)} บาท เมื่อวันที่ {number(1, 29)}/0{number(1, 9)}/2567",
        lambda: f"The total was {number(10**9, 10**10)} and then {number(10**12, 10**13):,}.",
        lambda: f"ISBN 978-3-16-{digits(draw, 6)}-{digits(draw, 1)} in {number(0, 9)}.{number(0, 99)}.{number(0, 99)}",
        lambda: f"Beschluss vom {number(10, 29)}.0{number(1, 9)}.2019, Az. {number(1, 9)} BvR {number(10, 3000)}/18",
        lambda: f"เลขที่ {no_id()}",
        lambda: f"Order {no_card()}",
        lambda: f"นายกรัฐมนตรีแถลงว่า นายจ้างต้องจ่ายค่าชดเชย {number(30, 400)} วัน แก่ลูกจ้าง",
        lambda: f"x = {draw.random():.12f}, y = {draw.random():.9f}; n={number(0, 10**5)}",
        lambda: f"commit {draw.getrandbits(160):040x} at 2024-0{number(1, 9)}-1{number(0, 9)}T10:{number(10, 59)}:00",
        lambda: f"Der Vertrag vom {number(1, 28)}. März regelt in § {number(1, 2000)} Abs. 2 die Haftung.",
        lambda: "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    )
    return [makers[place % len(makers)]() for place in range(count)]

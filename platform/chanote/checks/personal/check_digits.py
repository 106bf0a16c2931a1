"""Check digits of numbers that name a person, a card or an account. Each takes plain digits, or letters and digits."""

from collections import Counter

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip
"""Country → characters of its account numbers (ISO 13616)."""


def is_thai_id(digits: str) -> bool:
    """13 digits of a person: weights 13 to 2, modulo 11. A first digit of 0 is a company's, 9 is not given out."""
    total = sum(weight * int(digit) for weight, digit in zip(range(13, 1, -1), digits, strict=False))
    return len(digits) == 13 and digits[0] in "12345678" and (11 - total % 11) % 10 == int(digits[12])


def is_card(digits: str) -> bool:
    """Luhn's sum, and a beginning and a length that an issuer uses."""
    return _is_issued(digits) and len(set(digits)) > 1 and luhn_sum(digits) % 10 == 0


def luhn_sum(digits: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total


def _is_issued(digits: str) -> bool:
    two, four = int(digits[:2]), int(digits[:4])
    match len(digits):
        case 13 | 19:
            return digits[0] == "4" or (len(digits) == 19 and two == 62)
        case 14:
            return two in (36, 38) or 300 <= int(digits[:3]) <= 305
        case 15:
            return two in (34, 37)
        case 16:
            return (
                digits[0] == "4"
                or 51 <= two <= 55
                or 2221 <= four <= 2720
                or four == 6011
                or two in (62, 65)
                or 3528 <= four <= 3589
            )
        case _:
            return False


def is_iban(account: str) -> bool:
    """Letters and digits without spaces, upper case: length of the country, and 1 modulo 97."""
    if len(account) != IBAN_LENGTHS.get(account[:2]) or not account[2:4].isdigit():
        return False
    turned = account[4:] + account[:4]
    return int("".join(str(int(one, 36)) for one in turned)) % 97 == 1


def is_german_tax_id(digits: str) -> bool:
    """11 digits: one of the first ten stands twice or three times, the others at most once; ISO 7064 MOD 11,10."""
    if len(digits) != 11 or digits[0] == "0":
        return False
    often = sorted(Counter(digits[:10]).values(), reverse=True)
    if often[0] not in (2, 3) or often[1:2] != [1]:
        return False
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def is_german_insurance_number(number: str) -> bool:
    """Rentenversicherungsnummer: area, birthday, first letter of the name, serial number, check digit."""
    day, month = int(number[2:4]), int(number[4:6])
    if not (1 <= day <= 31 or 51 <= day <= 81) or not 1 <= month <= 12:
        return False
    digits = number[:8] + f"{ord(number[8]) - ord('A') + 1:02d}" + number[9:11]
    products = (
        int(digit) * weight for digit, weight in zip(digits, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=False)
    )
    return sum(product // 10 + product % 10 for product in products) % 10 == int(number[11])


def is_german_document(number: str) -> bool:
    """Serial number of a passport or an identity card with its check digit: ten characters, weights 7, 3, 1."""
    return len(number) == 10 and number[9].isdigit() and travel_digit(number[:9]) == int(number[9])


def travel_digit(field: str) -> int:
    """Check digit of a field of a machine-readable travel document (ICAO 9303)."""
    values = (0 if one == "<" else int(one, 36) for one in field)
    return sum(value * weight for value, weight in zip(values, (7, 3, 1) * 15, strict=False)) % 10


def is_spanish_id(number: str) -> bool:
    """DNI, or NIE where X, Y or Z stands for 0, 1 or 2: the number modulo 23 names the letter."""
    digits = str("XYZ".find(number[0])) + number[1:8] if number[0] in "XYZ" else number[:8]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == number[8]


def is_french_number(number: str) -> bool:
    """Numéro de sécurité sociale: 13 places and 97 less their remainder; Corsica writes 2A and 2B for 19 and 18."""
    whole = number[:13].replace("2A", "19", 1).replace("2B", "18", 1)
    return whole.isdigit() and 1 <= int(number[3:5]) <= 99 and 97 - int(whole) % 97 == int(number[13:15])


_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def is_italian_code(code: str) -> bool:
    """Codice fiscale: 15 characters and a letter for their sum modulo 26, counted differently in odd places."""
    total = 0
    for place, one in enumerate(code[:15]):
        value = int(one) if one.isdigit() else ord(one) - ord("A")
        total += value if place % 2 else _ODD[value]
    return chr(ord("A") + total % 26) == code[15]


def is_polish_number(digits: str) -> bool:
    """PESEL: a birthday whose month also tells the century, and weights 1, 3, 7, 9."""
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    total = sum(int(digit) * weight for digit, weight in zip(digits, (1, 3, 7, 9) * 3, strict=False))
    return 1 <= month <= 12 and 1 <= day <= 31 and (10 - (total - int(digits[10]) * 7) % 10) % 10 == int(digits[10])


def is_dutch_number(digits: str) -> bool:
    """BSN: weights 9 to 2 and -1, divisible by 11."""
    total = sum(int(digit) * weight for digit, weight in zip(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=False))
    return len(digits) == 9 and total % 11 == 0 and len(set(digits)) > 1

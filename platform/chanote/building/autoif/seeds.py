"""Constraints to begin with, each in Thai and in English: about form only, and a program can check every one."""

SEEDS: tuple[tuple[str, str], ...] = (
    ("จบทุกย่อหน้าด้วยคำว่า “ครับ”", "End every paragraph with the word “ครับ”."),
    ("เขียนตัวเลขทุกตัวด้วยเลขไทย ห้ามใช้เลขอารบิก", "Write every number in Thai digits and use no Arabic digit."),
    ("ห้ามใช้ตัวอักษรละตินแม้แต่ตัวเดียว", "Do not use a single Latin letter."),
    ("ตอบเป็นรายการหัวข้อย่อยที่ขึ้นต้นด้วย “- ” จำนวน 5 ข้อพอดี", "Answer with exactly 5 bullet points that begin with “- ”."),
    (
        "แบ่งคำตอบเป็น 3 ย่อหน้า คั่นด้วยบรรทัดว่างหนึ่งบรรทัด",
        "Divide the answer into 3 paragraphs with one empty line between them.",
    ),
    ("ขึ้นต้นคำตอบด้วยคำว่า “สวัสดีครับ”", "Begin the answer with “สวัสดีครับ”."),
    ("จบคำตอบด้วยประโยค “ขอบคุณที่รับฟัง” โดยไม่มีอะไรต่อท้าย", "End the answer with “ขอบคุณที่รับฟัง” and nothing after it."),
    ("ใช้ไม้ยมก (ๆ) อย่างน้อย 3 ครั้ง", "Use the repetition mark ๆ at least 3 times."),
    (
        "กล่าวถึงปีเป็นพุทธศักราชในรูป “พ.ศ. 25XX” อย่างน้อยหนึ่งครั้ง",
        "Give a year of the Buddhist Era as “พ.ศ. 25XX” at least once.",
    ),
    (
        "เขียนจำนวนเงินในรูป “฿1,000” โดยมีสัญลักษณ์ ฿ นำหน้าเสมอ",
        "Write every amount of money with the sign ฿ before it, as in “฿1,000”.",
    ),
    ("ใส่คำว่า “ข้าวเหนียว” 2 ครั้งพอดี", "Use the word “ข้าวเหนียว” exactly 2 times."),
    ("ห้ามใช้เครื่องหมายจุลภาค", "Use no comma."),
    ("ตอบไม่เกิน 400 อักขระรวมช่องว่าง", "Answer in at most 400 characters, spaces included."),
    ("ตอบอย่างน้อย 8 บรรทัดที่ไม่ว่าง", "Answer in at least 8 lines that are not empty."),
    ("ครอบชื่อเรื่องด้วยเครื่องหมาย 【 และ 】 ไว้บรรทัดแรก", "Put a title between 【 and 】 on the first line."),
    (
        "ตอบเป็นออบเจ็กต์ JSON ที่มีคีย์ “คำตอบ” และ “เหตุผล” เท่านั้น",
        "Answer as a JSON object with the keys “คำตอบ” and “เหตุผล” and no other.",
    ),
    (
        "เขียนเวลาเป็นแบบ 24 ชั่วโมงลงท้ายด้วย “น.” เช่น “09.30 น.” อย่างน้อยหนึ่งแห่ง",
        "Give at least one time of day in the form “09.30 น.”.",
    ),
    (
        "ขึ้นต้นแต่ละบรรทัดด้วยพยัญชนะ ก ข ค ง ตามลำดับ ตามด้วยจุด รวม 4 บรรทัด",
        "Write 4 lines that begin with ก. ข. ค. and ง. in this order.",
    ),
    ("ห้ามใช้คำว่า “และ” ในคำตอบ", "Do not use the word “และ” in the answer."),
    ("มีอีโมจิ 🙏 หนึ่งตัวพอดีและไม่มีอีโมจิอื่น", "Use exactly one 🙏 and no other emoji."),
    ("คั่นคำตอบสองส่วนด้วยบรรทัดที่มีเพียง “* * *”", "Separate the two parts of the answer by a line that holds only “* * *”."),
    (
        "ใส่เบอร์โทรศัพท์สมมุติในรูป “0X-XXXX-XXXX” หนึ่งหมายเลข",
        "Include one made-up telephone number in the form “0X-XXXX-XXXX”.",
    ),
    ("ทำตัวหนาแบบ Markdown (**…**) ให้คำสำคัญอย่างน้อย 3 แห่ง", "Mark at least 3 key words in bold with Markdown (**…**)."),
    ("ทุกบรรทัดต้องยาวไม่เกิน 60 อักขระ", "Keep every line at 60 characters or fewer."),
    ("ห้ามใช้เครื่องหมายอัศเจรีย์และเครื่องหมายคำถาม", "Use neither exclamation marks nor question marks."),
    ("เขียนรายการลำดับเลข 1. ถึง 4. โดยไม่ข้ามเลข", "Write a list numbered 1. to 4. without leaving a number out."),
)
"""(Thai, English) of the same constraint. No placeholders: each can be checked as it stands."""

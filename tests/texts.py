"""Texts in many scripts and shapes, for everything that must hold for any text."""

from __future__ import annotations

#: The same thought in 28 scripts.
SCRIPTS = {
    "Latin": "The telescope shows galaxies that are older than our Sun.",
    "Latin, Vietnamese": "Kính thiên văn cho thấy các thiên hà già hơn Mặt Trời.",
    "Cyrillic": "Телескоп показывает галактики, которые старше нашего Солнца.",
    "Greek": "Το τηλεσκόπιο δείχνει γαλαξίες παλαιότερους από τον Ήλιο.",
    "Arabic": "يُظهر التلسكوب مجرات أقدم من شمسنا.",
    "Arabic, Persian": "تلسکوپ کهکشان‌هایی را نشان می‌دهد که از خورشید پیرترند.",
    "Hebrew": "הטלסקופ מראה גלקסיות עתיקות מן השמש שלנו.",
    "Devanagari": "दूरबीन हमारे सूर्य से पुरानी आकाशगंगाएँ दिखाती है।",
    "Bengali": "দূরবীন আমাদের সূর্যের চেয়ে পুরোনো ছায়াপথ দেখায়।",
    "Gurmukhi": "ਦੂਰਬੀਨ ਸਾਡੇ ਸੂਰਜ ਤੋਂ ਪੁਰਾਣੀਆਂ ਗਲੈਕਸੀਆਂ ਦਿਖਾਉਂਦੀ ਹੈ।",
    "Gujarati": "દૂરબીન આપણા સૂર્ય કરતાં જૂની આકાશગંગાઓ બતાવે છે.",
    "Tamil": "தொலைநோக்கி நமது சூரியனை விடப் பழைய விண்மீன் மண்டலங்களைக் காட்டுகிறது.",
    "Telugu": "దూరదర్శిని మన సూర్యుని కంటే పాత గెలాక్సీలను చూపిస్తుంది.",
    "Kannada": "ದೂರದರ್ಶಕವು ನಮ್ಮ ಸೂರ್ಯನಿಗಿಂತ ಹಳೆಯ ನಕ್ಷತ್ರಪುಂಜಗಳನ್ನು ತೋರಿಸುತ್ತದೆ.",
    "Malayalam": "ദൂരദർശിനി നമ്മുടെ സൂര്യനേക്കാൾ പഴയ ഗാലക്സികളെ കാണിക്കുന്നു.",
    "Sinhala": "දුරේක්ෂය අපේ හිරුට වඩා පැරණි මන්දාකිණි පෙන්වයි.",
    "Thai": "กล้องโทรทรรศน์แสดงดาราจักรที่เก่าแก่กว่าดวงอาทิตย์ของเรา",
    "Lao": "ກ້ອງສ່ອງທາງໄກສະແດງກາລັກຊີທີ່ເກົ່າກວ່າດວງອາທິດ",
    "Burmese": "အဝေးကြည့်မှန်ပြောင်းသည် နေထက်ဟောင်းသော ဂလက်ဆီများကို ပြသည်။",
    "Khmer": "កែវយឹតបង្ហាញកាឡាក់ស៊ីដែលចាស់ជាងព្រះអាទិត្យ",
    "Georgian": "ტელესკოპი გვიჩვენებს ჩვენს მზეზე ძველ გალაქტიკებს.",
    "Armenian": "Աստղադիտակը ցույց է տալիս մեր Արևից հին գալակտիկաներ։",
    "Ethiopic": "ቴሌስኮፑ ከፀሐያችን የቆዩ ጋላክሲዎችን ያሳያል።",
    "Tibetan": "རྒྱང་ཤེལ་གྱིས་ང་ཚོའི་ཉི་མ་ལས་རྙིང་པའི་སྐར་ཚོགས་སྟོན།",
    "Hangul": "망원경은 우리 태양보다 오래된 은하를 보여 준다.",
    "Kana and kanji": "望遠鏡は太陽より古い銀河を映し出す。",
    "Han": "望远镜显示比太阳更古老的星系。",
    "Cherokee": "ᏗᎦᏙᎵ ᏗᏟᎶᏍᏙᏗ ᏃᏈᏏ ᎠᏂᎦᏴᎵ ᏅᏙ ᎢᎦ ᎡᎯ",
}

#: What breaks careless text handling.
AWKWARD = (
    "",
    " ",
    "\n",
    "\t\n  \r\n",
    "\ufeff",
    "\u200b\u200d",
    "\x00",
    "a\x00b\x07c",
    "line one\nline two\r\nline three",
    "  leading and trailing  ",
    "def add(a, b):\n    return a + b\n",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "e\u0301 and \u00e9, \u1112\u1161\u11ab and \ud55c",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽",
    "a" + "\u0301" * 200,
    "\u202eright to left\u202c",
    "<|im_end|>",
    "text <|endoftext|> more <|im_end|> and <|im_start|>",
    "Instruct: do something else\nQuery: what",
    "Query: ",
    "0123456789" * 10,
    "x" * 500,
    "word " * 300,
    "\U0001f9ea\U00020000\U000e0001\U0010ffff",
)


def many_texts() -> list[str]:
    """Return more than 200 different texts, of every script in several shapes."""
    shapes = (
        "{0}",
        "{0} {0}",
        "{0}\n\n{0}\t{0}",
        "# {0}\n\n- {0}\n- `{0}`",
        "1. {0} 2. {0} 3.14",
        "{0} (NGC 4889)",
        "« {0} »",
    )
    return [shape.format(text) for text in SCRIPTS.values() for shape in shapes] + list(AWKWARD)

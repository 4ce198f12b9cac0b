"""Conversations for the demo model, generated from a seed, and its held-out questions.

Whether an operand is held out is a pure function of its key (a CRC), so training can never meet one: pairs of numbers,
(task, word) pairs, invented words, number lists, names, and for every fact one of its phrasings.
"""

import argparse
import itertools
import json
import os
import random
import zlib

from facts import ASKED, SMALL_TALK, TERMS

HERE = os.path.dirname(os.path.abspath(__file__))

with open(os.path.join(HERE, "words.txt"), encoding="utf-8") as words_file:
    WORDS = words_file.read().split()

KNOWN = frozenset(WORDS)

NAMES = """Anna Ben Carla David Emma Felix Greta Hugo Ida Jonas Karin Leo Maria Nils Olga Paul Rosa Simon Tina Victor Wanda
Adam Bella Chloe Dora Erik Frida Gina Henry Irene Jack Kate Lucas Mona Nora Oscar Peter Ruth Sofia Tom Ulla Vera Walter
Alice Bob Clara Dennis Eva Frank Gloria Hans Inga Julia Kurt Laura Max Nina Otto Petra Rita Sam Theo Uma Vincent Will
Zoe Amir Fatima Ravi Priya Chen Mei Yuki Kenji Ivan Katya Diego Lucia Omar Layla Kofi Amara Liam Noah Mia Ella Finn""".split()

COLOURS = "red green blue yellow black white brown pink grey purple orange".split()
CITIES = "Paris Rome Berlin Madrid London Vienna Oslo Prague Athens Dublin Lisbon Warsaw Tokyo Cairo Lima Boston".split()
ANIMALS = "cat dog horse cow sheep goat duck lion tiger bear wolf fox mouse rabbit frog eagle".split()
THINGS = "apple bread chair lamp stone river cloud book clock table plate bottle ring train boat glove".split()

SYSTEMS = ["You are a helpful assistant.", "You are a small assistant. Answer briefly.", "Answer the question.",
           "You are Dema, a demo model.", "Be short and exact.", "You are an assistant for inferd."]


def HeldOut(key, share=12):
    """True for about one key in `share`."""
    return zlib.crc32(key.encode()) % share == 0


class Gen:
    """One stream of samples. `held` chooses which side of the split is drawn, `focus` {task: factor} changes how often
    a task comes. Not for several threads."""

    def __init__(self, seed, held=False, focus=None):
        self.r = random.Random(seed)
        self.held = held
        self.weights = [WEIGHTED[task] * (focus or {}).get(task, 1) for task in TASKS]

    def Draw(self, make):
        """Calls make() -> (key, value) until the key is on the wanted side."""
        while True:
            key, value = make()
            if HeldOut(key) == self.held:
                return value

    def Pick(self, options):
        return self.r.choice(options)

    def Number(self):
        return self.r.randint(0, 9) if self.r.random() < 0.2 else self.r.randint(10, 99)

    # Each task returns (question, answer).

    def Add(self):
        a, b = self.Draw(lambda: (lambda x, y: (f"add {x} {y}", (x, y)))(self.Number(), self.Number()))
        q = self.Pick(["What is {a} + {b}?", "{a} + {b}", "{a} + {b} =", "Add {a} and {b}.", "What is {a} plus {b}?",
                       "Calculate {a} + {b}.", "How much is {a} plus {b}?", "What is the sum of {a} and {b}?", "{a}+{b}"])
        return q.format(a=a, b=b), str(a + b)

    def Sub(self):
        def Make():
            x, y = self.Number(), self.Number()
            x, y = max(x, y), min(x, y)
            return f"sub {x} {y}", (x, y)
        a, b = self.Draw(Make)
        q = self.Pick(["What is {a} - {b}?", "{a} - {b}", "{a} - {b} =", "Subtract {b} from {a}.", "What is {a} minus {b}?",
                       "Calculate {a} - {b}.", "How much is {a} minus {b}?", "{a}-{b}"])
        return q.format(a=a, b=b), str(a - b)

    def Mul(self):
        a, b = self.Draw(lambda: (lambda x, y: (f"mul {x} {y}", (x, y)))(self.r.randint(0, 12), self.r.randint(0, 9)))
        q = self.Pick(["What is {a} * {b}?", "{a} * {b}", "{a} * {b} =", "Multiply {a} by {b}.", "What is {a} times {b}?",
                       "Calculate {a} * {b}.", "How much is {a} times {b}?"])
        return q.format(a=a, b=b), str(a * b)

    def Compare(self):
        def Make():
            x, y = self.Number(), self.Number()
            return f"cmp {x} {y}" if x != y else "cmp", (x, y)
        while True:
            a, b = self.Draw(Make)
            if a != b:
                break
        form = self.r.randint(0, 3)
        if form == 0:
            q = self.Pick(["Which is larger, {a} or {b}?", "Which number is greater, {a} or {b}?", "What is larger, {a} or {b}?"])
            return q.format(a=a, b=b), str(max(a, b))
        if form == 1:
            q = self.Pick(["Which is smaller, {a} or {b}?", "Which number is less, {a} or {b}?", "What is smaller, {a} or {b}?"])
            return q.format(a=a, b=b), str(min(a, b))
        if form == 2:
            return f"Is {a} greater than {b}?", "yes" if a > b else "no"
        return f"Is {a} less than {b}?", "yes" if a < b else "no"

    def Word(self, task):
        """A real word (whose pair with the task is held out) or an invented one (held out for every task)."""
        def Make():
            if self.r.random() < 0.5:
                w = self.r.choice(WORDS)
                return f"{task} {w}", w
            w = self.r.choice(WORDS)
            while w in KNOWN:
                w = "".join(self.r.choice("bcdfghjklmnprstvwz") + self.r.choice("aeiou") for _ in range(self.r.randint(1, 2)))
                w += self.r.choice(["", "", "n", "r", "s", "t", "l", "m"]) if len(w) > 2 else self.r.choice("nrstlm")
            return f"invented {w}", w
        return self.Draw(Make)

    def Reverse(self):
        w = self.Word("reverse")
        q = self.Pick(["Reverse the word {w}.", "Reverse {w}.", "Write {w} backwards.", "Spell {w} backwards.",
                       "What is {w} reversed?", "Reverse the letters of {w}.", "Can you reverse {w}?"])
        return q.format(w=w), " ".join(reversed(w))

    def Upper(self):
        w = self.Word("upper")
        q = self.Pick(["Write {w} in upper case.", "Write {w} in capital letters.", "Upper case: {w}", "Capitalise all letters of {w}.",
                       "Convert {w} to upper case.", "What is {w} in upper case?", "Make {w} upper case."])
        return q.format(w=w), w.upper()

    def CountLetters(self):
        w = self.Word("count")
        q = self.Pick(["How many letters are in {w}?", "How many letters does {w} have?", "Count the letters in {w}.",
                       "What is the length of the word {w}?", "How long is the word {w}?", "Count the letters of {w}."])
        return q.format(w=w), str(len(w))

    def FirstLast(self):
        which = self.Pick(["first", "last"])
        w = self.Word(which)
        q = self.Pick(["What is the {p} letter of {w}?", "Give me the {p} letter of {w}.", "Which letter is the {p} one in {w}?",
                       "Tell me the {p} letter of {w}.", "The {p} letter of {w}?", "Name the {p} letter in {w}."])
        return q.format(w=w, p=which), w[0] if which == "first" else w[-1]

    def Spell(self):
        w = self.Word("spell")
        q = self.Pick(["Spell {w}.", "Spell the word {w}.", "How do you spell {w}?", "Please spell {w}.", "How is {w} spelled?",
                       "Give me the letters of {w}.", "Spell out the word {w}."])
        return q.format(w=w), " ".join(w)

    def Repeat(self):
        w = self.Word("repeat")
        n, name = self.Pick([(1, ""), (2, "twice"), (3, "three times"), (4, "four times")])
        if n == 1:
            q = self.Pick(["Repeat after me: {w}", "Say {w}.", "Please say {w}.", "Repeat the word {w}.", "Write {w}."])
        else:
            q = self.Pick(["Repeat {w} {n}.", "Say {w} {n}.", "Write {w} {n}.", "Repeat the word {w} {n}."])
        return q.format(w=w, n=name), " ".join([w] * n)

    def Echo(self):
        """Copying of several words: long answers, from which copying is learnt soonest. Not part of the held-out set."""
        words = [self.Pick([self.Trained(lambda: self.Word("echo")), self.Pick(NAMES), str(self.r.randint(0, 999))]) for _ in range(self.r.randint(2, 8))]
        q = self.Pick(["Repeat after me: {x}", "Say {x}", "Copy this: {x}", "Repeat: {x}", "Copy the list {x}"])
        return q.format(x=self.Form(words)), ", ".join(words)

    def Numbers(self, task, low, high, top=99):
        def Make():
            xs = [self.r.randint(0, top) for _ in range(self.r.randint(low, high))]
            return f"{task} {xs}", xs
        return self.Draw(Make)

    def Form(self, xs):
        return self.Pick([", ".join(map(str, xs)), " ".join(map(str, xs))])

    def Sort(self):
        xs = self.Numbers("sort", 3, 5)
        q = self.Pick(["Sort these numbers: {x}", "Sort {x}", "Sort the list {x}", "Put these numbers in order: {x}",
                       "Order these numbers: {x}", "Sort from small to large: {x}"])
        return q.format(x=self.Form(xs)), ", ".join(map(str, sorted(xs)))

    def MaxMin(self):
        xs = self.Numbers("maxmin", 3, 5)
        if self.r.random() < 0.5:
            q = self.Pick(["What is the largest of {x}?", "What is the maximum of {x}?", "Find the largest number: {x}",
                           "Which is the largest of {x}?", "Maximum of {x}", "Give me the biggest of {x}"])
            return q.format(x=self.Form(xs)), str(max(xs))
        q = self.Pick(["What is the smallest of {x}?", "What is the minimum of {x}?", "Find the smallest number: {x}",
                       "Which is the smallest of {x}?", "Minimum of {x}", "Give me the lowest of {x}"])
        return q.format(x=self.Form(xs)), str(min(xs))

    def Sum(self):
        xs = self.Numbers("sum", 3, 4, top=9)
        q = self.Pick(["What is the sum of {x}?", "Sum up {x}", "Add these numbers: {x}", "Add up {x}", "What is the total of {x}?"])
        return q.format(x=self.Form(xs)), str(sum(xs))

    def Items(self, task, low, high):
        def Make():
            pool = self.Pick([COLOURS, ANIMALS, THINGS, None])
            n = self.r.randint(low, high)
            xs = [str(self.r.randint(0, 99)) for _ in range(n)] if pool is None else self.r.sample(pool, n)
            return f"{task} {xs}", xs
        return self.Draw(Make)

    def Length(self):
        xs = self.Items("length", 2, 7)
        q = self.Pick(["How many items are in the list {x}?", "How long is the list {x}?", "Count the items: {x}",
                       "What is the length of the list {x}?", "How many elements does {x} have?"])
        return q.format(x=", ".join(xs)), str(len(xs))

    def Nth(self):
        xs = self.Items("nth", 3, 5)
        names = ["first", "second", "third", "fourth", "fifth"][:len(xs)] + ["last"]
        i = self.r.randrange(len(names))
        q = self.Pick(["What is the {n} item of {x}?", "What is the {n} element of {x}?", "Give me the {n} item of {x}",
                       "Which item is {n} in {x}?", "Tell me the {n} element of {x}", "The {n} item of {x}?"])
        return q.format(x=", ".join(xs), n=names[i]), xs[-1] if names[i] == "last" else xs[i]

    def Dedupe(self):
        def Make():
            pool = self.Pick([COLOURS, ANIMALS, THINGS, [str(i) for i in range(10)]])
            base = self.r.sample(pool, self.r.randint(2, 3))
            xs = base + [self.r.choice(base) for _ in range(self.r.randint(1, 2))]
            self.r.shuffle(xs)
            return f"dedupe {xs}", xs
        xs = self.Draw(Make)
        q = self.Pick(["Remove the duplicates from {x}", "Remove duplicates: {x}", "Delete the repeated items: {x}",
                       "Dedupe the list {x}", "List each item once: {x}"])
        return q.format(x=", ".join(xs)), ", ".join(dict.fromkeys(xs))

    def Fact(self, rooms=None):
        while True:
            room, question, answer = self.r.choice(QUESTIONS[self.held])
            if rooms is None or room in rooms:
                return question, answer

    def SmallTalk(self):
        return self.Fact(("talk",))

    # Dialogues: lists of (question, answer), the last answer depending on an earlier turn.

    def RememberName(self):
        name = self.Draw(lambda: (lambda n: (f"name {n}", n))(self.Pick(NAMES)))
        tell = self.Pick(["My name is {v}.", "I am {v}.", "I am called {v}.", "Hi, my name is {v}.", "Hello, I am {v}.", "Call me {v}."])
        ask = self.Pick(["What is my name?", "Who am I?", "Do you remember my name?", "What am I called?", "Tell me my name.", "Can you say my name?"])
        return [(tell.format(v=name), f"Nice to meet you, {name}.")] + self.Filler() + [(ask, f"Your name is {name}.")]

    def RememberNumber(self):
        n = self.Draw(lambda: (lambda x: (f"favourite {x}", x))(self.r.randint(0, 999)))
        word = self.Pick(["number", "favourite number", "lucky number", "secret number"])
        tell = self.Pick(["My {w} is {v}.", "Remember that my {w} is {v}.", "Please remember: my {w} is {v}."]).format(w=word, v=n)
        ask = self.Pick(["What is my {w}?", "Tell me my {w}.", "Do you remember my {w}?", "Which is my {w}?"]).format(w=word)
        return [(tell, self.Noted())] + self.Filler() + [(ask, f"Your {word} is {n}.")]

    def RememberThing(self):
        kind, pool = self.Pick([("colour", COLOURS), ("animal", ANIMALS), ("city", CITIES)])
        def Make():
            v = self.r.choice(pool)
            form = self.r.randrange(3)
            return f"thing {v} {form}", (v, form)
        v, form = self.Draw(Make)
        tell = ["My favourite {k} is {v}.", "Remember that my favourite {k} is {v}.", "The {k} I like best is {v}."][form].format(k=kind, v=v)
        ask = self.Pick(["What is my favourite {k}?", "Which {k} do I like best?", "Tell me my favourite {k}.", "Do you remember my favourite {k}?"])
        return [(tell, self.Noted())] + self.Filler() + [(ask.format(k=kind), f"Your favourite {kind} is {v}.")]

    def Noted(self):
        return "I will remember that."

    def Filler(self):
        """Zero to two unrelated turns, drawn from training so that the thing asked stays the only thing held out."""
        held, self.held = self.held, False
        turns = [self.Task() for _ in range(self.Pick([0, 0, 1, 1, 2]))]
        self.held = held
        return turns

    def Trained(self, task):
        held, self.held = self.held, False
        turn = task()
        self.held = held
        return turn

    def Again(self):
        """The task of the first turn repeated with new operands in a short form."""
        op, make = self.Pick([("+", self.Add), ("-", self.Sub), ("*", self.Mul), ("reverse", self.Reverse), ("spell", self.Spell),
                              ("upper", self.Upper), ("sort", self.Sort)])
        first = self.Trained(make)
        turns = [first]
        for _ in range(self.Pick([1, 2])):
            if op in "+-*":
                if op == "+":
                    a, b = self.Draw(lambda: (lambda x, y: (f"add {x} {y}", (x, y)))(self.Number(), self.Number()))
                    result = a + b
                elif op == "-":
                    def Make():
                        x, y = self.Number(), self.Number()
                        return f"sub {max(x, y)} {min(x, y)}", (max(x, y), min(x, y))
                    a, b = self.Draw(Make)
                    result = a - b
                else:
                    a, b = self.Draw(lambda: (lambda x, y: (f"mul {x} {y}", (x, y)))(self.r.randint(0, 12), self.r.randint(0, 9)))
                    result = a * b
                q = self.Pick(["And {a} {o} {b}?", "Now {a} {o} {b}.", "What about {a} {o} {b}?"]).format(a=a, b=b, o=op)
                turns.append((q, str(result)))
            elif op == "sort":
                xs = self.Numbers("sort", 3, 4)
                turns.append((self.Pick(["And {x}?", "Now {x}", "What about {x}?"]).format(x=self.Form(xs)), ", ".join(map(str, sorted(xs)))))
            else:
                w = self.Word(op)
                result = {"reverse": " ".join(reversed(w)), "spell": " ".join(w), "upper": w.upper()}[op]
                turns.append((self.Pick(["And {w}?", "Now {w}.", "What about {w}?"]).format(w=w), result))
        return turns

    def SameWord(self):
        """Several questions about one word, the later ones calling it `it`."""
        alone = ["spell", "reverse", "upper", "count", "first", "last"]
        w = self.Word("same")
        while not self.held and any(HeldOut(f"{task} {w}") for task in alone):
            w = self.Word("same")
        forms = {
            "spell": (["Spell {w}.", "Spell the word {w}."], ["Now spell it.", "And spell it.", "Spell it."], " ".join(w)),
            "reverse": (["Reverse {w}.", "Reverse the word {w}."], ["Now reverse it.", "And backwards?", "Reverse it."], " ".join(reversed(w))),
            "upper": (["Write {w} in upper case.", "Convert {w} to upper case."], ["Now in upper case.", "And in upper case?", "Write it in upper case."], w.upper()),
            "count": (["How many letters are in {w}?", "Count the letters in {w}."], ["How many letters does it have?", "Count its letters.", "And how many letters?"], str(len(w))),
            "first": (["What is the first letter of {w}?"], ["What is its first letter?", "And the first letter?"], w[0]),
            "last": (["What is the last letter of {w}?"], ["What is its last letter?", "And the last letter?"], w[-1]),
        }
        order = self.r.sample(sorted(forms), self.r.randint(2, 4))
        turns = [(self.Pick(forms[order[0]][0]).format(w=w), forms[order[0]][2])]
        return turns + [(self.Pick(forms[k][1]), forms[k][2]) for k in order[1:]]

    def SameList(self):
        xs = self.Numbers("same", 3, 4)
        while not self.held and any(HeldOut(key) for key in (
                f"sort {xs}", f"maxmin {xs}", f"length {[str(x) for x in xs]}", f"nth {[str(x) for x in xs]}")):
            xs = self.Numbers("same", 3, 4)
        forms = {
            "sort": (["Sort {x}", "Sort these numbers: {x}"], ["Now sort them.", "And sorted?", "Sort them."], ", ".join(map(str, sorted(xs)))),
            "max": (["What is the largest of {x}?"], ["What is the largest?", "And the largest?"], str(max(xs))),
            "min": (["What is the smallest of {x}?"], ["What is the smallest?", "And the smallest?"], str(min(xs))),
            "length": (["How many items are in the list {x}?"], ["How many are there?", "And how many items?"], str(len(xs))),
            "first": (["What is the first item of {x}?"], ["What is the first one?", "And the first?"], str(xs[0])),
            "last": (["What is the last item of {x}?"], ["What is the last one?", "And the last?"], str(xs[-1])),
        }
        order = self.r.sample(sorted(forms), self.r.randint(2, 4))
        turns = [(self.Pick(forms[order[0]][0]).format(x=", ".join(map(str, xs))), forms[order[0]][2])]
        return turns + [(self.Pick(forms[k][1]), forms[k][2]) for k in order[1:]]

    def Task(self):
        """One question of any kind, weighted by how much practice the kind needs."""
        task, = self.r.choices(TASKS, self.weights)
        return getattr(self, task)()

    def Dialogue(self):
        kind = self.Pick(["RememberName", "RememberNumber", "RememberThing", "Again", "Again", "SameWord", "SameWord", "SameList"])
        return getattr(self, kind)()

    def Conversation(self, long_share=0.03):
        """A list of messages with at least one assistant answer."""
        x = self.r.random()
        if x < 0.40:
            turns = [self.Task()]
        elif x < 0.70:
            turns = [self.Task() for _ in range(self.r.randint(2, 4))]
        elif x < 0.97 - long_share:
            turns = self.Dialogue()
            if self.r.random() < 0.3:
                turns = turns + self.Dialogue()
        elif x < 1.0 - long_share:
            turns = [self.Task() for _ in range(self.r.randint(6, 9))]
        else:
            turns = list(itertools.chain.from_iterable(
                self.Dialogue() if self.r.random() < 0.4 else [self.Task()] for _ in range(self.r.randint(10, 16))))
        return self.Messages(turns)

    def Messages(self, turns, system_share=0.3):
        messages = []
        if self.r.random() < system_share:
            messages.append({"role": "system", "content": self.Pick(SYSTEMS)})
        for question, answer in turns:
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": answer})
        return messages


WEIGHTED = {"Add": 11, "Sub": 11, "Mul": 3, "Compare": 4, "Reverse": 8, "Upper": 6, "CountLetters": 3, "FirstLast": 4, "Spell": 6,
            "Repeat": 5, "Echo": 5, "Sort": 7, "MaxMin": 5, "Sum": 4, "Length": 2, "Nth": 5, "Dedupe": 4, "Fact": 8, "SmallTalk": 3}
TASKS = list(WEIGHTED)

# {t}: the term with its article. Terms are often asked by another name.
DEFINE = ["What is {t}?", "Explain {t}.", "What does {t} mean?", "Define {t}.", "Can you explain {t}?", "Tell me about {t}.",
          "Please explain {t}.", "What do you know about {t}?", "Describe {t}.", "Tell me what {t} is.", "What do we mean by {t}?",
          "I want to know what {t} is.", "Give a definition of {t}.", "Do you know what {t} is?", "Could you define {t}?", "What is meant by {t}?"]
BEFORE = ["", "", "", "Please tell me: ", "Quick question: ", "Hi! ", "A question: ", "Hello. "]


def BuildQuestions():
    """{held: [(room, question, answer)]}. A phrasing is a (fact, sentence) pair; one in eight is never trained."""
    table = {False: [], True: []}
    def Put(room, question, answer, key, share=8):
        held = HeldOut(key, share)
        for before in (BEFORE if room != "talk" and not held else [""]):
            table[held].append((room, before + question, answer))
    for room, term, others, answer in TERMS:
        for name in [term] + others:
            for form in DEFINE:
                Put(room, form.format(t=name), answer, f"{name} {form}")
    for room, answer, questions in ASKED:
        # The first phrasing is always trained; among the others about one in four is not.
        for i, question in enumerate(questions):
            Put(room, question, answer, question if i else "trained 0", 5)
    for answer, questions in SMALL_TALK:
        for i, question in enumerate(questions):
            Put("talk", question, answer, question if i else "trained 0", 6)
    return table


QUESTIONS = BuildQuestions()

HELDOUT_COUNTS = {
    "facts": [("serving", 60), ("inferd", 40)],
    "arithmetic": [("Add", 40), ("Sub", 35), ("Mul", 8), ("Compare", 25)],
    "strings": [("Reverse", 25), ("Upper", 25), ("CountLetters", 20), ("FirstLast", 25), ("Spell", 25), ("Repeat", 20)],
    "lists": [("Sort", 25), ("MaxMin", 25), ("Sum", 20), ("Length", 20), ("Nth", 20), ("Dedupe", 20)],
    "small talk": [("talk", 20)],
    "dialogues": [("RememberName", 12), ("RememberNumber", 12), ("RememberThing", 10), ("Again", 20), ("SameWord", 15), ("SameList", 10)],
}


def BuildHeldOut(seed=2024):
    """[{category, task, messages, answer}], no two with the same messages."""
    g = Gen(seed, held=True)
    out, seen = [], set()
    for category, tasks in HELDOUT_COUNTS.items():
        for task, count in tasks:
            if task in ("serving", "inferd", "talk"):
                pool = [q for q in QUESTIONS[True] if q[0] == task]
                g.r.shuffle(pool)
                turn_lists = [[(q, a)] for _, q, a in pool]
                assert len(turn_lists) >= count // 2, (task, len(turn_lists))
                turn_lists = turn_lists[:count]
            else:
                turn_lists = (t if isinstance(t, list) else [t] for t in (getattr(g, task)() for _ in range(100 * count)))
            taken = 0
            for turns in turn_lists:
                messages = g.Messages(turns, system_share=0.2)[:-1]
                key = json.dumps(messages)
                if key in seen or taken == count:
                    continue
                seen.add(key)
                taken += 1
                out.append({"category": category, "task": task, "messages": messages, "answer": turns[-1][1]})
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", default=os.path.join(HERE, "heldout.jsonl"))
    parser.add_argument("--check", type=int, default=200000, help="training conversations compared with the held-out set")
    args = parser.parse_args()
    held = BuildHeldOut()
    with open(args.write, "w", encoding="utf-8") as f:
        for row in held:
            f.write(json.dumps(row) + "\n")
    prompts = {json.dumps([m for m in row["messages"] if m["role"] != "system"]) for row in held}
    g = Gen(1)
    for _ in range(args.check):
        users = [m for m in g.Conversation() if m["role"] != "system"]
        for i in range(0, len(users), 2):
            assert json.dumps(users[:i + 1]) not in prompts, users[:i + 1]
            assert json.dumps(users[i:i + 1]) not in prompts, users[i]
    print(f"{len(held)} held-out questions, none among {args.check} training conversations")


if __name__ == "__main__":
    main()

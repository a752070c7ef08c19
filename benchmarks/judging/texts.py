"""What is judged: prompts and answers of about a kilobyte each, written as models write: prose, lists, a little code."""

PROMPTS = (
    (
        "My neighbour's tree drops its leaves into our gutter every autumn and we had water in the cellar twice. I want to "
        "stay on good terms. What should I say to them, and what may I do myself without asking?"
    ),
    (
        "Explain to somebody who has never programmed why two people must not change the same row of a table at the same "
        "time, and what a lock does about it. Use an example from daily life."
    ),
    "I have a flight at 6 in the morning, two children and no car. Plan the evening before and the way to the airport.",
    (
        "Write a function that tells whether a text is the same read backwards, ignoring spaces and case, and say how long "
        "it takes for a text of n characters."
    ),
)

_PROSE = (
    "Start with a visit rather than a letter, and go when nothing has just gone wrong: a calm Saturday is better than the "
    "morning after the flood. Say what happened and what it cost you, not what they did. People defend their trees, but hardly "
    "anybody defends a wet cellar. Then ask what they think could be done, and wait for the answer.\n\n"
    "As for yourself, you may clean your own gutter at any time, and fit a leaf guard to it. Branches that reach over the "
    "border are another matter. In most places you have to ask first and give a reasonable time, and in some a protected tree "
    "may not be cut at all, so look at the rules of your town before anyone fetches a saw.\n\n"
    "If the talk goes well, offer to share the cost of a gardener once a year. It is cheaper than one more repair, and it "
    "shows that you want to live next to one another for a long time. Should they refuse, you still have the letter, and a "
    "mediator costs little."
)
_QUEUE = (
    "Think of a bakery with one list of orders on the counter. Two assistants take orders at the same time. Both read "
    "that three loaves are left, both promise two to their customer, and both write down that one remains. The list looks "
    "right, yet four loaves were promised where there were only three. Nobody made a mistake that they could have seen.\n\n"
    "A lock is the pencil on a string. Whoever wants to change the list has to hold the pencil; the other one waits until it "
    "is back. Reading from afar is allowed, but a promise may only be made with the pencil in the hand, and the list must be "
    "read again after taking it, since it may have changed meanwhile.\n\n"
    "This has a price: people wait. So good programs hold the pencil for a short time, always fetch several pencils in the "
    "same order, and give every page of the list a pencil of its own. Then two assistants who work on different pages never "
    "meet, and the bakery is as quick as before."
)
_LIST = (
    "Here is a plan that leaves room for one thing going wrong:\n\n"
    "1. **By six in the evening** pack everything except toothbrushes. Put the passports into the jacket that you will wear.\n"
    "2. **At seven** eat something simple, and let the children choose one toy each. Two are lost more easily than one.\n"
    "3. **Before bed** lay out the clothes in the order of putting them on, and order the taxi by telephone, not by an app.\n\n"
    "For the way itself:\n\n"
    "- Leave at *half past three*: at that hour the road takes forty minutes, and the counter opens at four.\n"
    "- Carry breakfast with you. Nothing is open before five, and hungry children do not stand in queues.\n"
    "- Take the night bus as a reserve; it stops near the hotel at ten past three and at ten to four.\n\n"
    "If the taxi has not come by twenty to four, walk to the bus stop at once instead of calling again. You will still be in "
    "time, since the gate closes at twenty past five, and the way through the security check is short in the early morning. "
    "Above all, **sleep**: lie down when the children do."
)
_CODE = (
    "Compare the text with its own reverse after throwing away what should not count:\n\n"
    "```python\n"
    "def is_palindrome(text: str) -> bool:\n"
    "    kept = [char for char in text.casefold() if char.isalnum()]\n"
    "    return kept == kept[::-1]\n"
    "```\n\n"
    "It looks at each of the `n` characters a fixed number of times, so it takes time in proportion to the length: twice the "
    "text, twice the time. It also needs room for a copy. Where memory matters, walk from both ends at once with two "
    "indices, skip what is no letter or digit, and stop at the first difference; then no copy is made, and most texts are "
    "refused after a few steps.\n\n"
    "Two details are easy to get wrong:\n\n"
    "- `casefold()` is not `lower()`: the German sharp s becomes two letters, which is what a reader expects.\n"
    "- An empty text counts as a palindrome here. If you do not want that, say so in the name of the function and in a test."
)
# Half prose, a third lists, the rest code.
ANSWERS = (_PROSE, _LIST, _QUEUE, _LIST, _PROSE, _CODE)
MATHS = (
    (
        "The sum of the first $n$ numbers is $\\frac{n(n+1)}{2}$: write them down once forwards and once backwards, and each of the "
        "$n$ columns has the sum $n + 1$.\n\n$$\\sum_{k=1}^{n} k = \\frac{n(n+1)}{2}$$"
    ),
    "By induction: for $n = 1$ it holds, and $\\frac{n(n+1)}{2} + (n + 1) = \\frac{(n+1)(n+2)}{2}$, so it holds for every $n$.",
)

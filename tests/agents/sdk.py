"""The Python SDKs, whole and streamed. sdk.py anthropic|openai SECRET"""

import sys

which, secret = sys.argv[1:]
text = f"The key is {secret}, keep it."

if which == "anthropic":
    import anthropic

    client = anthropic.Anthropic()
    ask = dict(model="made-up", max_tokens=99, messages=[{"role": "user", "content": text}])
    said = [client.messages.create(**ask).content[0].text]
    with client.messages.stream(**ask) as stream:
        said.append("".join(stream.text_stream))
else:
    import openai

    client = openai.OpenAI()
    ask = dict(model="made-up", messages=[{"role": "user", "content": text}])
    said = [client.chat.completions.create(**ask).choices[0].message.content]
    deltas = client.chat.completions.create(stream=True, **ask)
    said.append("".join(d.choices[0].delta.content or "" for d in deltas if d.choices))
    ask = dict(model="made-up", input=[{"role": "user", "content": text}])
    said.append(client.responses.create(**ask).output_text)
    with client.responses.stream(**ask) as stream:
        said.append("".join(e.delta for e in stream if e.type == "response.output_text.delta"))
        said.append(stream.get_final_response().output_text)

for one in said:
    print(one)
    assert secret in one, one

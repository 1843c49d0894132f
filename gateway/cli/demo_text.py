"""What `gateway demo` says to try."""

TRY_IT = """
Now you. The key is filled in; every call is free, upstream is simulated.

In a browser
  {page}    a page that holds no key: it gets a client token from its own backend
  {url}/docs    the whole interface

curl
  curl {url}/images/generate \\
    -H "Content-Type: application/json" -H "Authorization: Bearer {key}" \\
    -d '{{"model": "flux-2-pro", "prompt": "a lighthouse at dusk", "aspect_ratio": "3:2"}}'

Python
  import requests
  answer = requests.post("{url}/images/generate",
      headers={{"Authorization": "Bearer {key}"}},
      json={{"model": "gemini-2.5-flash-image", "prompt": "a paper boat"}}, timeout=200)
  print(answer.json()["data"][0]["image"])

JavaScript
  const answer = await fetch("{url}/images/generate", {{
    method: "POST",
    headers: {{"Content-Type": "application/json", Authorization: "Bearer {key}"}},
    body: JSON.stringify({{model: "flux-2-pro", prompt: "a fox in the snow"}}),
  }})
  console.log((await answer.json()).data[0].image)

What was spent:  GATEWAY_DATA_DIR={data} gateway spend
Ctrl-C stops it; the images and the ledger stay in {data}.
"""

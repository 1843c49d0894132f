# https://api.atalk-ai.com/api-docs/api/image-generation, section 使用 Flux 高级参数示例(图生图 + 自定义尺寸)
curl https://api.atalk-ai.com/images/generate \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -d '{
    "model": "flux-2-pro",
    "prompt": "将这张照片转换为水彩画风格,保持原构图",
    "input_image": "https://example.com/input.jpg",
    "aspect_ratio": "2:3",
    "seed": 42,
    "output_format": "png",
    "safety_tolerance": 3
  }'
